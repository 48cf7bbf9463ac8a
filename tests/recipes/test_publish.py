"""What the shipped model's recipe writes into the store, and what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recipe.network import CONTRACT, SPEC
from recipe.publish import NAME, publish, render_card, round_to_half, with_interval
from recipe.training import whole_plan
from service.model.resnet import SgeResNet
from service.store.load import list_versions, load_version
from service.store.write import CARD_FILE

SHIPPED = list_versions(Path(__file__).parents[2] / "model_store" / NAME)[-1]
PEAKS = {block.name: {"gate": 0.5, "similarity": 0.25, "chance": 0.125} for block in SPEC.blocks()}
FIGURES = {
    "plan_sha256": whole_plan(seed=1).fingerprint(),
    "top1_as_is": 0.9371,
    "top1_on_canvas": 0.9052,
    "peaks_on_garment": PEAKS,
    "evidence": {"attribution": {"peak": 0.75, "mass": 0.5, "deletion": 0.25, "insertion": 0.875}},
}


@pytest.fixture
def network() -> SgeResNet:
    """The recipe's network with its first weights, rounded to what the store keeps."""
    torch.manual_seed(1)
    network = SgeResNet(SPEC)
    round_to_half(network)
    return network


def test_a_trained_network_becomes_the_next_version(network: SgeResNet, tmp_path: Path) -> None:
    """Its weights and figures are in the version, which loads; its card states the figures."""
    publish(network, FIGURES, tmp_path)

    version = publish(network, FIGURES, tmp_path)

    card = (version / CARD_FILE).read_text()
    loaded = load_version(version)
    assert version == tmp_path / NAME / "2"
    assert "| SGE-ResNet-18 | 93.71% ± 0.48% | 90.52% ± 0.57% |" in card
    assert "| attribution | 75.0% | 50.0% | 0.250 | 0.875 |" in card
    assert loaded.manifest.metrics == {"sge": FIGURES}
    assert (loaded.manifest.spec, loaded.manifest.input) == (SPEC, CONTRACT)
    for name, weights in loaded.network.state_dict().items():
        assert torch.equal(weights, network.state_dict()[name]), name


class TestShippedVersion:
    """The version in the store is what this recipe makes, with one more row in its card."""

    def test_it_is_of_the_recipes_network_and_plan(self) -> None:
        """So is the network without SGE that it is compared with."""
        manifest = load_version(SHIPPED).manifest

        assert (manifest.spec, manifest.input) == (SPEC, CONTRACT)
        assert {name: of["plan_sha256"] for name, of in manifest.metrics.items()} == dict.fromkeys(
            ("sge", "plain"), FIGURES["plan_sha256"]
        )

    def test_its_card_states_the_figures_of_its_manifest(self) -> None:
        """Beside the recipe's text it has one row, of the network without SGE, and a note on it."""
        metrics = load_version(SHIPPED).manifest.metrics
        plain = [with_interval(metrics["plain"][name]) for name in ("top1_as_is", "top1_on_canvas")]
        row = f"| the same without SGE | {' | '.join(plain)} |\n"

        before, middle, after = (SHIPPED / CARD_FILE).read_text().partition(row)

        start, end = after.index("Both networks were"), after.index("## Where the masks peak")
        assert middle == row
        assert f"{before}{after[:start]}{after[end:]}" == render_card(SHIPPED.name, metrics["sge"])
