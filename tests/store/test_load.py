"""The model store: what is found, verified and loaded, and how a broken version is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from service.errors import BadCheckpoint, BadManifest, HashMismatch, MissingFile, StoreError
from service.store.files import sha256_of
from service.store.load import StoreContents, load_store, load_version
from tests.store_fixtures import LABELS, TINY, edit_manifest, overwrite, replace_file, snapshot


@pytest.fixture
def read_only_store(store: Path) -> Iterator[Path]:
    """The same store, in folders that only root could write to."""
    folders = [store, store / "tiny", store / "tiny" / "1"]
    for folder in folders:
        folder.chmod(0o555)
    yield store
    for folder in folders:
        folder.chmod(0o755)


def add_version(store: Path, name: str, version: str) -> Path:
    """Copy tiny/1 under another name and version."""
    directory = store / name / version
    shutil.copytree(store / "tiny" / "1", directory, copy_function=os.link)
    edit_manifest(directory, name=name, version=version)
    return directory


def keys(contents: StoreContents) -> tuple[list[str], list[str]]:
    """The keys of the healthy and of the broken versions."""
    return [b.key for b in contents.models], [b.key for b in contents.broken]


def error_of(directory: Path) -> StoreError:
    """Why a version cannot be loaded."""
    with pytest.raises(StoreError) as caught:
        load_version(directory)
    return caught.value


def test_a_healthy_version_loads_ready_to_classify(store: Path) -> None:
    """Its network is float32, in evaluation mode, without gradients."""
    model = load_version(store / "tiny" / "1")

    parameters = list(model.network.parameters())
    assert (model.key, model.labels, model.network.spec) == ("tiny/1", LABELS, TINY)
    assert not model.network.training
    assert {(p.dtype, p.device.type, p.requires_grad) for p in parameters} == {
        (torch.float32, "cpu", False)
    }


def test_a_network_that_was_released_is_read_again(store: Path) -> None:
    """Whoever needs it later gets the same one, and nobody holds it."""
    model = load_version(store / "tiny" / "1")
    before = model.network
    held = weakref.ref(before)

    model.reference.release()
    again = model.network

    assert again is not before
    for name, value in before.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    del before, again
    assert held() is None


def test_a_network_is_not_read_again_from_other_weights(store: Path) -> None:
    """A version is what was verified at the start, or an error."""
    directory = store / "tiny" / "1"
    model = load_version(directory)
    model.reference.release()
    overwrite(directory / "model.safetensors", b"others")

    with pytest.raises(HashMismatch, match=r"^model\.safetensors has the sha256"):
        _ = model.network


def test_a_version_may_be_named_from_its_models_folder(store: Path) -> None:
    """A relative path is as good as an absolute one."""
    with contextlib.chdir(store / "tiny"):
        model = load_version(Path("1"))

    assert model.key == "tiny/1"


@pytest.mark.parametrize("file_name", ["manifest.json", "model.safetensors", "labels.txt"])
def test_a_missing_file_is_named(store: Path, file_name: str) -> None:
    """The line says which of the three files is not there."""
    directory = store / "tiny" / "1"
    (directory / file_name).unlink()

    error = error_of(directory)

    assert type(error) is MissingFile
    assert error.message == f"{directory / file_name} cannot be read: no such file or directory"


@pytest.mark.parametrize(
    ("file_name", "limit_bytes"),
    [("manifest.json", 1 << 20), ("labels.txt", 16 << 20), ("model.safetensors", 106_218_168)],
)
def test_a_file_larger_than_it_may_be_is_not_read(
    store: Path, file_name: str, limit_bytes: int
) -> None:
    """Weights may be as large as the manifest's network in float64, with their header."""
    directory = store / "tiny" / "1"
    (directory / file_name).unlink()
    with (directory / file_name).open("wb") as file:
        file.truncate(1 << 40)

    error = error_of(directory)

    assert type(error) is BadManifest
    assert error.message == (f"{file_name} has 1099511627776 bytes, at most {limit_bytes} are read")


def test_of_very_many_faults_the_first_are_told(store: Path) -> None:
    """The line goes into every answer of a probe."""
    edit_manifest(store / "tiny" / "1", **{f"field{number}": 0 for number in range(1000)})

    message = error_of(store / "tiny" / "1").message

    assert message.endswith("field9 0: extra inputs are not permitted; and 990 more")


def test_the_model_card_is_not_needed(store: Path) -> None:
    """README.md is for people."""
    (store / "tiny" / "1" / "README.md").unlink()

    assert load_version(store / "tiny" / "1").key == "tiny/1"


@pytest.mark.parametrize("file_name", ["model.safetensors", "labels.txt"])
def test_a_file_other_than_the_manifests_is_refused(store: Path, file_name: str) -> None:
    """Weights and labels are read only where their hash is the manifest's."""
    directory = store / "tiny" / "1"
    content = (directory / file_name).read_bytes()
    seen = overwrite(directory / file_name, content[:-2] + b"!\n")

    error = error_of(directory)

    assert type(error) is HashMismatch
    assert error.message == (
        f"{file_name} has the sha256 {seen}, the manifest says {sha256_of(content)}"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "invalid manifest: invalid JSON: EOF while parsing"),
        (b"{", "invalid manifest: invalid JSON: EOF while parsing"),
        (b"\xff\xfe", "invalid manifest"),
        (b"[]", "invalid manifest: input should be an object"),
        (b"[" * 100_000, "invalid manifest: invalid JSON: recursion limit exceeded"),
        (b'{"name": "Tiny"}', "invalid manifest: name 'Tiny': string should match pattern"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_in_one_line(
    store: Path, content: bytes, reason: str
) -> None:
    """Damaged JSON and wrong fields give one line with the value seen."""
    overwrite(store / "tiny" / "1" / "manifest.json", content)

    error = error_of(store / "tiny" / "1")

    assert type(error) is BadManifest
    assert error.message.startswith(reason)
    assert "\n" not in error.message


@pytest.mark.parametrize("changes", [{"name": "tinier"}, {"version": "2"}])
def test_a_manifest_in_another_versions_folder_is_refused(
    store: Path, changes: dict[str, str]
) -> None:
    """A version answers to the name of its folders, so both must agree."""
    edit_manifest(store / "tiny" / "1", **changes)
    name, version = changes.get("name", "tiny"), changes.get("version", "1")

    error = error_of(store / "tiny" / "1")

    assert type(error) is BadManifest
    assert error.message == f"the manifest is that of {name}/{version}, the folder is tiny/1"


def test_labels_must_be_as_many_as_classes(store: Path) -> None:
    """A hash that fits does not excuse a label too few."""
    replace_file(store / "tiny" / "1", "labels", b"cat\ndog\n")

    error = error_of(store / "tiny" / "1")

    assert (type(error), error.message) == (BadManifest, "2 labels for 3 classes")


def test_weights_must_fit_the_manifests_network(store: Path) -> None:
    """A manifest with other groups than its weights is found out."""
    edit_manifest(store / "tiny" / "1", groups=16)

    error = error_of(store / "tiny" / "1")

    assert type(error) is BadCheckpoint
    assert "; misshapen: layer1.0.sge.weight (1, 8, 1, 1), needs (1, 16, 1, 1)" in error.message


def test_weights_that_are_no_safetensors_are_refused(store: Path) -> None:
    """A hash that fits does not make a pickle safe: it is not even tried."""
    replace_file(store / "tiny" / "1", "weights", b"\x80\x02}.")

    error = error_of(store / "tiny" / "1")

    assert type(error) is BadCheckpoint
    assert error.message == "model.safetensors is no checkpoint, or a damaged one"


def test_versions_come_by_name_and_then_by_number(store: Path) -> None:
    """10 is after 2, and every model is there when none is asked for."""
    for name, version in (("tiny", "10"), ("tiny", "2"), ("ant", "3")):
        add_version(store, name, version)

    contents = load_store(store)

    assert keys(contents) == (["ant/3", "tiny/1", "tiny/2", "tiny/10"], [])


@pytest.mark.parametrize(
    ("wanted", "loaded"),
    [
        (("tiny",), ["tiny/1", "tiny/2"]),
        (("tiny/2",), ["tiny/2"]),
        (("tiny/2", "ant"), ["ant/3", "tiny/2"]),
        (("tiny", "tiny/1", "tiny"), ["tiny/1", "tiny/2"]),
    ],
)
def test_only_what_is_wanted_is_loaded(
    store: Path, wanted: tuple[str, ...], loaded: list[str]
) -> None:
    """An item is a model with all its versions, or one version; nothing is loaded twice."""
    add_version(store, "tiny", "2")
    add_version(store, "ant", "3")

    contents = load_store(store, wanted)

    assert keys(contents) == (loaded, [])


@pytest.mark.parametrize("item", ["ant", "tiny/2", "tiny/", "tiny/01", "../store/tiny", "/", "tin"])
def test_a_wanted_item_that_is_not_there_is_reported(store: Path, item: str) -> None:
    """It is told by its name and does not stop the others."""
    contents = load_store(store, (item, "tiny/1", item))

    assert keys(contents) == (["tiny/1"], [item])
    assert type(contents.broken[0].error) is MissingFile
    assert contents.broken[0].error.message == f"no such version in {store}"


def test_a_broken_version_does_not_stop_the_healthy_ones(store: Path) -> None:
    """Each broken version is reported with its own error."""
    (add_version(store, "tiny", "2") / "labels.txt").unlink()
    overwrite(add_version(store, "ant", "1") / "model.safetensors", b"")

    contents = load_store(store)

    assert keys(contents) == (["tiny/1"], ["ant/1", "tiny/2"])
    assert [type(b.error) for b in contents.broken] == [HashMismatch, MissingFile]


def test_a_broken_version_nobody_wants_is_not_reported(store: Path) -> None:
    """What is not asked for is not read."""
    (add_version(store, "tiny", "2") / "manifest.json").unlink()

    assert keys(load_store(store, ("tiny/1",))) == (["tiny/1"], [])


def test_what_is_no_version_is_passed_over(store: Path) -> None:
    """Files, recipes, empty models and half-written versions lie in a store without harm."""
    (store / "README.md").touch()
    (store / "7").touch()
    (store / "tiny" / "recipe.py").touch()
    (store / "tiny" / "3").touch()
    for folder in ("lost+found", ".git/1", "tiny/.2-0123abcd", "tiny/build", "tiny/02", "tiny/v2"):
        (store / folder).mkdir(parents=True)

    assert keys(load_store(store)) == (["tiny/1"], [])


def test_an_empty_version_folder_is_broken(store: Path) -> None:
    """A folder whose name is a version's is expected to be one."""
    (store / "tiny" / "2").mkdir()

    assert keys(load_store(store)) == (["tiny/1"], ["tiny/2"])


def test_an_empty_store_holds_nothing(tmp_path: Path) -> None:
    """No model is no error here; the service decides what to make of it."""
    assert load_store(tmp_path) == StoreContents((), ())


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """An absent store and a file in its place are distinguished."""
    (tmp_path / "file").touch()

    with pytest.raises(MissingFile, match=r"absent cannot be listed: no such file or directory$"):
        load_store(tmp_path / "absent")
    with pytest.raises(MissingFile, match=r"file cannot be listed: not a directory$"):
        load_store(tmp_path / "file")


def test_reading_never_writes(read_only_store: Path) -> None:
    """A read-only store serves, and nothing in it changes."""
    before = snapshot(read_only_store)

    contents = load_store(read_only_store)

    assert keys(contents) == (["tiny/1"], [])
    assert snapshot(read_only_store) == before
