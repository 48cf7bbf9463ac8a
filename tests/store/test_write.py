"""Writing a version: whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from service.errors import BadCheckpoint, BadManifest, StoreError
from service.images.contract import InputContract
from service.model.checkpoint import build_network
from service.model.resnet import SgeResNet
from service.store.load import load_version
from service.store.write import CARD_FILE, write_version
from tests.store_fixtures import (
    LABELS,
    TINY,
    new_tiny_version,
    random_input,
    snapshot,
    tiny_network,
    tiny_weights,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The path of a store that is not there yet."""
    return tmp_path / "store"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 kB: enough for labels, not for weights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def with_value(name: str, value: float) -> SgeResNet:
    """The tiny network with one tensor filled with a value."""
    changed = tiny_weights()
    network = build_network(TINY, changed | {name: torch.zeros_like(changed[name])})
    network.state_dict()[name].fill_(value)
    return network


def test_what_is_written_is_what_is_loaded(store: Path) -> None:
    """Manifest, labels, card and network come back as they went in."""
    metrics = {"top1": 0.94, "trained on": ["train"]}

    directory = write_version(store, new_tiny_version(sge_inserted=True, metrics=metrics))

    model = load_version(directory)
    pixels = random_input(32)
    assert directory == store / "tiny" / "1"
    assert model.key == "tiny/1"
    assert model.labels == LABELS
    assert model.manifest.spec == TINY
    assert model.manifest.initial_bias == TINY.initial_bias
    assert model.manifest.input == InputContract(size_px=32, fit="fit")
    assert (model.manifest.sge_inserted, model.manifest.metrics) == (True, metrics)
    assert (model.manifest.licence, model.manifest.source) == ("CC0-1.0", "random numbers")
    assert (directory / CARD_FILE).read_text() == "# tiny\n"
    assert torch.equal(model.network(pixels).logits, tiny_network()(pixels).logits)


def test_half_weights_halve_the_file_and_load_as_float32(store: Path) -> None:
    """Convolutions and fc are stored as float16, everything else as float32.

    A float16 weight is off by up to 2^-11 of itself; over 18 layers of random signs that stays
    under 1 % of the largest logit.
    """
    directory = write_version(store, new_tiny_version(half_weights=True))

    stored = safetensors.torch.load_file(directory / "model.safetensors")
    network = load_version(directory).network
    halved = {name for name, value in stored.items() if value.dtype == torch.float16}
    expected = tiny_network()(random_input(32)).logits
    assert halved == {
        name for name, value in stored.items() if value.ndim > 1 and ".sge." not in name
    }
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    torch.testing.assert_close(
        network(random_input(32)).logits, expected, rtol=0, atol=0.01 * expected.abs().max().item()
    )


def test_a_network_in_any_state_is_stored_the_same(store: Path) -> None:
    """Layout, precision and mode of the network that is handed in leave no trace."""
    network = build_network(TINY, tiny_weights())
    network.double().to(memory_format=torch.channels_last).train()

    first = write_version(store, new_tiny_version())
    second = write_version(store, new_tiny_version(version="2", network=network))

    files = [directory / "model.safetensors" for directory in (first, second)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_version_is_never_overwritten(store: Path) -> None:
    """The second writer of a version is refused and changes nothing."""
    write_version(store, new_tiny_version())
    before = snapshot(store)

    with pytest.raises(BadManifest, match=r"tiny/1 exists, a version is never overwritten$"):
        write_version(store, new_tiny_version(licence="MIT"))

    assert snapshot(store) == before


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"labels": ("cat", "dog")}, BadManifest, "2 labels for 3 classes"),
        ({"name": "../tiny"}, BadManifest, "invalid manifest: name '../tiny': "),
        ({"version": "v1"}, BadManifest, "invalid manifest: version 'v1': "),
        ({"metrics": {"top1": object()}}, BadManifest, "invalid manifest: licence, source or met"),
        (
            {"input": InputContract(size_px=16, fit="fit")},
            BadManifest,
            "invalid manifest: an input of 16 px ends in a 1x1 map",
        ),
    ],
)
def test_an_impossible_draft_leaves_no_trace(
    store: Path, changes: dict[str, Any], error: type[StoreError], reason: str
) -> None:
    """What is refused is refused before anything is written."""
    with pytest.raises(error) as caught:
        write_version(store, new_tiny_version(**changes))

    assert caught.value.message.startswith(reason)
    assert not store.exists()


@pytest.mark.parametrize(
    ("value", "half"), [(float("nan"), False), (float("inf"), True), (70_000.0, True)]
)
def test_weights_that_would_be_stored_as_nan_or_infinity_leave_no_trace(
    store: Path, value: float, *, half: bool
) -> None:
    """Neither NaN, nor infinity, nor what float16 makes of numbers above 65504, is stored."""
    new = new_tiny_version(network=with_value("fc.weight", value), half_weights=half)

    with pytest.raises(BadCheckpoint, match=r"^nan or infinite weights in fc\.weight$"):
        write_version(store, new)

    assert not store.exists()


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_trace(store: Path) -> None:
    """A version that cannot be written to its end is removed, and its model's empty folder too."""
    with pytest.raises(StoreError, match=r"tiny/1 cannot be written: file too large$"):
        write_version(store, new_tiny_version())

    assert snapshot(store) == {}


@pytest.mark.usefixtures("full_disk")
def test_a_failed_write_leaves_the_models_other_files(store: Path) -> None:
    """The recipe beside the versions stays."""
    (store / "tiny").mkdir(parents=True)
    (store / "tiny" / "recipe.py").touch()

    with pytest.raises(StoreError, match="cannot be written"):
        write_version(store, new_tiny_version())

    assert list(snapshot(store)) == ["tiny", "tiny/recipe.py"]


def test_losing_the_race_for_a_version_leaves_no_trace(store: Path) -> None:
    """Something at the version's place that shows only at the rename wins."""
    (store / "tiny").mkdir(parents=True)
    (store / "tiny" / "1").symlink_to("nowhere")

    with pytest.raises(StoreError, match=r"tiny/1 cannot be written: not a directory$"):
        write_version(store, new_tiny_version())

    assert [path.name for path in (store / "tiny").iterdir()] == ["1"]


def test_a_store_that_cannot_be_made_is_refused(store: Path) -> None:
    """A file in the store's place is reported, not replaced."""
    store.write_text("a file")

    with pytest.raises(StoreError, match=r"tiny/1 cannot be written: not a directory$"):
        write_version(store, new_tiny_version())

    assert store.read_text() == "a file"
