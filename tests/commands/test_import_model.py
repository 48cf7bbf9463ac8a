"""`sge-serve import`: a published checkpoint becomes a version, or nothing is left of it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from service.commands.import_model import run
from service.commands.importing.request import ImportRequest
from service.config import Settings
from service.errors import BadCheckpoint, BadManifest, MissingFile, StoreError
from service.images.contract import InputContract
from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet
from service.store.files import sha256_of
from service.store.load import load_version
from tests.store_fixtures import (
    LABELS,
    TINY,
    RunsCommand,
    pickled,
    random_input,
    random_network,
    tiny_network,
    tiny_plain_weights,
    tiny_weights,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as a plain state dict."""
    file = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    file.write_bytes(pickled(tiny_weights()))
    return file


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The path of a store that is not there yet."""
    return tmp_path / "store"


def request_for(checkpoint: Path, **changes: Any) -> ImportRequest:
    """Ask for the import of a tiny network."""
    tiny: dict[str, Any] = {
        "file": checkpoint,
        "name": "tiny",
        "architecture": "sge_resnet18",
        "size_px": 32,
        "stem": "small",
    }
    return ImportRequest(**(tiny | changes))


def import_model(request: ImportRequest, store: Path) -> Path:
    """Run the command, and give the folder that it says."""
    said: list[str] = []
    run(Settings(model_store=store), request, said.append)
    (line,) = (line for line in said if line.startswith("imported "))
    return Path(line.removeprefix("imported "))


def test_an_import_keeps_the_function(checkpoint: Path, store: Path) -> None:
    """A plain state dict gives the logits of the network it came from."""
    directory = import_model(request_for(checkpoint), store)

    network = load_version(directory).network
    assert torch.equal(network(random_input(32)).logits, tiny_network()(random_input(32)).logits)


def test_the_authors_resnet_50_keeps_logits_and_similarities(store: Path, tmp_path: Path) -> None:
    """A wrapped, prefixed file of torch before 1.6 gives every block's similarity as before."""
    spec = ResNetSpec("sge_resnet50", classes=1000, groups=64, input_px=64)
    published = random_network(SgeResNet, spec)
    state = OrderedDict((f"module.{name}", value) for name, value in published.state_dict().items())
    file = tmp_path / "sge_resnet50.pth.tar"
    file.write_bytes(pickled({"epoch": 100, "state_dict": state}, legacy=True))

    directory = import_model(ImportRequest(file, "sge50", "sge_resnet50", size_px=64), store)

    loaded = load_version(directory)
    blocks = [block.name for block in spec.blocks()]
    outputs = loaded.network(random_input(64), blocks)
    expected = published(random_input(64), blocks)
    assert (loaded.manifest.spec, loaded.manifest.sge_inserted) == (spec, False)
    assert (loaded.labels[0], loaded.labels[999]) == ("tench", "toilet tissue")
    assert torch.equal(outputs.logits, expected.logits)
    torch.testing.assert_close(outputs.similarities, expected.similarities, rtol=0, atol=0)


def test_a_plain_resnet_gets_sge_and_the_version_says_so(store: Path, tmp_path: Path) -> None:
    """Manifest and card tell it; the logits are torchvision's to 1e-5 of the largest.

    Rounding in float32 is 6e-8 an operation, over 18 layers.
    """
    file = tmp_path / "resnet18.pth"
    file.write_bytes(pickled(tiny_plain_weights()))

    directory = import_model(request_for(file, groups=16), store)

    loaded = load_version(directory)
    expected = random_network(plain_resnet, TINY)(random_input(32))
    assert (loaded.manifest.sge_inserted, loaded.manifest.groups) == (True, 16)
    assert "Every gate is the same number, 0.731" in (directory / "README.md").read_text()
    torch.testing.assert_close(
        loaded.network(random_input(32)).logits,
        expected,
        rtol=0,
        atol=1e-5 * expected.abs().max().item(),
    )


def test_the_manifest_holds_what_was_said_and_what_was_found(checkpoint: Path, store: Path) -> None:
    """Licence and source come from the person, everything else from the file."""
    request = request_for(checkpoint, licence="MIT", source="https://example.org/tiny")

    manifest = load_version(import_model(request, store)).manifest

    assert manifest.spec == TINY
    assert (manifest.licence, manifest.source) == ("MIT", "https://example.org/tiny")
    assert (manifest.sge_inserted, manifest.metrics) == (False, {})


@pytest.mark.parametrize(("size_px", "shorter_side_px"), [(224, 256), (32, 36), (288, 329)])
def test_the_input_is_that_of_the_published_evaluation(
    checkpoint: Path, store: Path, size_px: int, shorter_side_px: int
) -> None:
    """A centre crop after scaling the shorter side in proportion, ImageNet mean and deviation."""
    directory = import_model(request_for(checkpoint, size_px=size_px), store)

    assert load_version(directory).manifest.input == InputContract(
        size_px=size_px, fit="crop", shorter_side_px=shorter_side_px
    )


def test_the_card_says_where_it_came_from_and_that_nothing_was_measured(
    checkpoint: Path, store: Path
) -> None:
    """A reader learns the file, its hash, the licence and the limits of what is known."""
    directory = import_model(request_for(checkpoint), store)

    card = (directory / "README.md").read_text()
    assert card.startswith("# tiny, version 1\n\nsge_resnet18: 3 classes, 8 channel groups")
    assert f"Imported from `tiny.pth`, sha256 `{sha256_of(checkpoint.read_bytes())}`." in card
    assert "- Licence: not stated.\n- Input: 32 x 32 px RGB" in card
    assert "- Labels: placeholders, none were given.\n- SGE: part of the checkpoint.\n" in card
    assert "Nothing was measured at import" in card


@pytest.mark.parametrize(
    ("present", "expected"), [([], "1"), (["1"], "2"), (["2", "9", "10", ".11-0123", "v12"], "11")]
)
def test_the_next_version_is_one_above_the_highest(
    checkpoint: Path, store: Path, present: list[str], expected: str
) -> None:
    """Numbers are compared as numbers; half-written folders do not count."""
    for folder in present:
        (store / "tiny" / folder).mkdir(parents=True)

    assert import_model(request_for(checkpoint), store) == store / "tiny" / expected


def test_a_version_may_be_chosen(checkpoint: Path, store: Path) -> None:
    """`--version` wins over the next number."""
    assert import_model(request_for(checkpoint, version="7"), store) == store / "tiny" / "7"


def test_labels_come_from_a_file(checkpoint: Path, store: Path, tmp_path: Path) -> None:
    """One line is one class, in the order of the logits."""
    file = tmp_path / "animals.txt"
    file.write_text("cat\ndog\ngnu\n")

    directory = import_model(request_for(checkpoint, labels=str(file)), store)

    assert load_version(directory).labels == LABELS
    assert "- Labels: from `animals.txt`.\n" in (directory / "README.md").read_text()


def test_without_labels_classes_are_numbered(checkpoint: Path, store: Path) -> None:
    """No name is invented."""
    directory = import_model(request_for(checkpoint), store)

    assert load_version(directory).labels == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("labels", [None, "imagenet1k"])
def test_a_thousand_classes_are_imagenets(store: Path, tmp_path: Path, labels: str | None) -> None:
    """By default and when asked for, labels come from torchvision."""
    file = tmp_path / "tiny.pth"
    thousand = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    file.write_bytes(pickled(tiny_weights() | thousand))

    loaded = load_version(import_model(request_for(file, labels=labels), store)).labels

    assert (loaded[0], loaded[207], loaded[999]) == ("tench", "golden retriever", "toilet tissue")


def test_a_checkpoint_with_code_is_refused_and_does_not_run(store: Path, tmp_path: Path) -> None:
    """The command in the pickle is named, not run, and no version comes of it."""
    trace = tmp_path / "trace"
    file = tmp_path / "evil.pth"
    file.write_bytes(pickled(tiny_weights() | {"extra": RunsCommand(f"touch {trace}")}))

    with pytest.raises(BadCheckpoint, match=r"^evil\.pth holds code \(\w+\.system\), only plain"):
        import_model(request_for(file), store)

    assert not trace.exists()
    assert not store.exists()


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"name": "Tiny"}, BadManifest, "invalid manifest: name 'Tiny': string should match"),
        ({"name": "../tiny"}, BadManifest, "invalid manifest: name '../tiny': string should"),
        ({"version": "v1"}, BadManifest, "invalid manifest: version 'v1': string should match"),
        ({"source": "\udcff"}, BadManifest, "invalid manifest: licence, source or metrics cannot"),
        ({"size_px": 5000}, BadManifest, "invalid manifest: size_px 5000: input should be less"),
        ({"size_px": 16}, BadCheckpoint, "an input of 16 px ends in a 1x1 map"),
        ({"groups": 64}, BadCheckpoint, "the weights have 8 groups, 64 were asked for"),
        ({"architecture": "vgg16"}, BadCheckpoint, "unknown architecture 'vgg16', known are: "),
        ({"architecture": "sge_resnet34"}, BadCheckpoint, "the weights do not fit sge_resnet34 "),
        ({"labels": "imagenet1k"}, BadManifest, "1000 labels for 3 classes"),
        ({"labels": "/absent/labels.txt"}, MissingFile, "/absent/labels.txt cannot be read: no "),
        ({"file": Path("/absent/net.pth")}, MissingFile, "/absent/net.pth cannot be read: no "),
    ],
)
def test_a_refused_import_leaves_no_trace(
    checkpoint: Path, store: Path, changes: dict[str, Any], error: type[StoreError], reason: str
) -> None:
    """One clear line, and no folder."""
    with pytest.raises(error) as caught:
        import_model(request_for(checkpoint, **changes), store)

    assert caught.value.message.startswith(reason)
    assert not store.exists()
