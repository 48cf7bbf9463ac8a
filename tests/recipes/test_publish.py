"""What the shipped model's recipe writes into the store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recipe.__main__ import main
from recipe.network import CONTRACT, SPEC
from recipe.publish import NAME, OtherRecipe, add_plain, check_same_recipe, publish, round_to_half
from recipe.training import whole_plan
from service.model.resnet import SgeResNet
from service.store.load import list_versions, load_version
from service.store.write import CARD_FILE, write_version
from tests.store_fixtures import new_tiny_version

STORE = Path(__file__).parents[2] / "model_store"
PEAKS = {block.name: {"gate": 0.5, "similarity": 0.25, "chance": 0.125} for block in SPEC.blocks()}
PLAN = whole_plan(seed=1)
SGE = {
    "plan_sha256": PLAN.fingerprint(),
    "top1_as_is": 0.9371,
    "top1_on_canvas": 0.9052,
    "peaks_on_garment": PEAKS,
}
PLAIN = {"top1_as_is": 0.9363, "top1_on_canvas": 0.9044}


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of a version of the recipe's network, published without a comparison."""
    torch.manual_seed(1)
    network = SgeResNet(SPEC)
    round_to_half(network)
    return publish(network, CONTRACT, {"sge": SGE}, tmp_path)


class TestPublish:
    """A trained network becomes the next version."""

    def test_the_card_says_that_nothing_was_compared(self, version: Path) -> None:
        """It has the one network's figures."""
        card = (version / CARD_FILE).read_text()

        assert version.name == "1"
        assert "| SGE-ResNet-18 | 93.71% ± 0.48% | 90.52% ± 0.57% |" in card
        assert "has not been trained yet" in card
        assert load_version(version).manifest.metrics == {"sge": SGE}

    def test_versions_are_counted(self, version: Path) -> None:
        """The next one is numbered after the latest."""
        network = load_version(version).network

        assert publish(network, CONTRACT, {"sge": SGE}, version.parents[1]).name == "2"


class TestComparison:
    """The network without SGE may be trained later."""

    def test_its_figures_join_those_of_the_version(self, version: Path) -> None:
        """In card and manifest; weights and labels stay, and the version is still whole."""
        before = load_version(version).manifest

        add_plain(version, PLAIN)

        after = load_version(version).manifest
        card = (version / CARD_FILE).read_text()
        assert after == before.model_copy(update={"metrics": {"sge": SGE, "plain": PLAIN}})
        assert "| SGE-ResNet-18 | 93.71% ± 0.48% | 90.52% ± 0.57% |" in card
        assert "| the same without SGE | 93.63% ± 0.48% | 90.44% ± 0.58% |" in card
        assert "has not been trained yet" not in card
        assert {file.name for file in version.iterdir()} == {
            "README.md", "labels.txt", "manifest.json", "model.safetensors",
        }  # fmt: skip

    def test_a_later_comparison_replaces_the_first(self, version: Path) -> None:
        """A version holds one."""
        add_plain(version, {"top1_as_is": 0.1, "top1_on_canvas": 0.1})

        add_plain(version, PLAIN)

        assert load_version(version).manifest.metrics == {"sge": SGE, "plain": PLAIN}

    def test_another_network_is_not_compared(self, tmp_path: Path) -> None:
        """Figures of two networks of different shape would say nothing of SGE."""
        other = write_version(tmp_path, new_tiny_version())

        with pytest.raises(OtherRecipe, match=r"the recipe trains ResNetSpec\(.*groups=8"):
            check_same_recipe(other, PLAN)

    def test_another_input_is_not_compared(self, tmp_path: Path) -> None:
        """The same network may see its pixels normalised in another way."""
        other = publish(
            SgeResNet(SPEC), CONTRACT.model_copy(update={"mean": (0, 0, 0)}), {"sge": SGE}, tmp_path
        )

        with pytest.raises(OtherRecipe, match=r"the recipe trains ResNetSpec\("):
            check_same_recipe(other, PLAN)

    def test_another_seed_is_not_compared(self, version: Path) -> None:
        """The card says that both have the same; a version of the same one passes."""
        check_same_recipe(version, PLAN)

        with pytest.raises(OtherRecipe, match=r"another seed or schedule than seed 2"):
            check_same_recipe(version, whole_plan(seed=2))

    def test_the_shipped_version_is_the_recipes(self) -> None:
        """So are the figures in its manifest, of both networks."""
        shipped = list_versions(STORE / NAME)[-1]

        check_same_recipe(shipped, PLAN)

        metrics = load_version(shipped).manifest.metrics
        assert {name: of["plan_sha256"] for name, of in metrics.items()} == dict.fromkeys(
            ("sge", "plain"), PLAN.fingerprint()
        )

    def test_a_version_that_is_not_there_is_told_before_training(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In one line, with exit code 2."""
        with pytest.raises(SystemExit) as ended:
            main(["--plain-of", "9", "--model-store", str(tmp_path)])

        assert ended.value.code == 2
        assert capsys.readouterr().err == (
            f"{tmp_path / NAME / '9' / 'manifest.json'} cannot be read: no such file or directory\n"
        )
