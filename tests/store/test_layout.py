"""The three layouts of a store, and the name by which a model answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.errors import BadManifest, StoreError
from service.store.layout import find_versions
from service.store.load import load_store, read_manifest
from service.store.model_store import ModelStore
from service.store.survey import Settled
from tests.store_fixtures import edit_manifest, overwrite


def keys_of(store: Path, model_name: str | None = None) -> list[str]:
    """What is found, by key."""
    return [folder.key for folder in find_versions(store, model_name)]


@pytest.mark.parametrize(
    ("below", "key"), [("", "tiny/1"), ("tiny", "tiny/1"), ("tiny/1", "tiny/1")]
)
def test_each_layout_gives_the_same_model(store: Path, below: str, key: str) -> None:
    """Models with versions, the versions of one, and one version's files."""
    contents = load_store(store / below)

    assert [model.key for model in contents.models] == [key]
    assert contents.broken == ()


@pytest.mark.parametrize("below", ["", "tiny", "tiny/1"])
def test_a_model_answers_by_another_name(store: Path, below: str) -> None:
    """As a cluster wants it, whatever the manifest says."""
    contents = load_store(store / below, model_name="garments")

    assert [model.key for model in contents.models] == ["garments/1"]


def test_a_version_of_the_other_name_is_found_by_it(store: Path) -> None:
    """As the process that compiles asks for it."""
    contents = load_store(store, ("garments/1",), model_name="garments")

    assert [model.key for model in contents.models] == ["garments/1"]


def test_one_name_is_for_one_model(store: Path) -> None:
    """Of several, nobody could tell which one is meant."""
    shutil.copytree(store / "tiny", store / "ant")

    with pytest.raises(StoreError, match="names one model, the store has ant, tiny: let SGE_MODEL"):
        find_versions(store, "garments")


def test_versions_of_one_model_come_by_number(store: Path) -> None:
    """10 after 2, also where a manifest cannot be read: that is for whoever loads it."""
    for version in ("10", "2"):
        shutil.copytree(store / "tiny" / "1", store / "tiny" / version)
    (store / "tiny" / "10" / "manifest.json").unlink()

    assert keys_of(store / "tiny") == ["tiny/1", "tiny/2", "tiny/10"]


def test_a_manifest_that_says_nothing_leaves_the_folders_name(store: Path) -> None:
    """It is told by it, and why it cannot be served."""
    (store / "tiny" / "1" / "manifest.json").unlink()
    (store / "tiny" / "1" / "manifest.json").write_bytes(b"[]")

    (broken,) = load_store(store / "tiny" / "1").broken

    assert (broken.key, type(broken.error)) == ("1", BadManifest)


def test_a_version_folder_holds_its_own_version(store: Path) -> None:
    """Whatever model it is of, a copy under another number is none."""
    edit_manifest(store / "tiny" / "1", version="7")

    (broken,) = load_store(store / "tiny").broken

    assert broken.error.message == "the manifest is that of tiny/7, the folder is tiny/1"


def test_a_name_by_which_nothing_can_be_loaded_is_no_models_name(store: Path) -> None:
    """The newest manifest's is taken first; a version of another name than its model is broken."""
    for version, name in (("2", "tinier"), ("3", "tiniest"), ("4", "Tiny")):
        shutil.copytree(store / "tiny" / "1", store / "tiny" / version)
        edit_manifest(store / "tiny" / version, version=version, name=name)
    edit_manifest(store / "tiny" / "3", classes=4)

    contents = load_store(store / "tiny")

    assert [model.key for model in contents.models] == ["tinier/2"]
    assert contents.settled == Settled("versions", "tinier")
    assert [(broken.key, broken.error.message) for broken in contents.broken] == [
        ("tinier/1", "the manifest is that of tiny/1, the folder is tinier/1"),
        ("tinier/3", "the manifest is that of tiniest/3, the folder is tinier/3"),
        (
            "tinier/4",
            "invalid manifest: name 'Tiny': string should match pattern '^[a-z0-9][a-z0-9._-]*$'",
        ),
    ]


def test_a_pinned_version_gives_its_model_the_name(store: Path) -> None:
    """Whatever a newer one says: the process that compiles names the version that serves."""
    shutil.copytree(store / "tiny" / "1", store / "tiny" / "2")
    edit_manifest(store / "tiny" / "2", version="2", name="tinier")

    contents = load_store(store / "tiny", ("tiny/1",))

    assert [model.key for model in contents.models] == ["tiny/1"]
    assert contents.broken == ()


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"version": "v5"}, "tiny"), ({"version": 5}, "tiny"), ({"name": "Ti/ny"}, "1/1")],
)
def test_what_a_manifest_says_is_taken_where_it_can_be_meant(
    store: Path, changes: dict[str, object], key: str
) -> None:
    """A number that is none is no version, and is told as the manifest's fault."""
    edit_manifest(store / "tiny" / "1", **changes)

    (broken,) = load_store(store / "tiny" / "1").broken

    assert (broken.key, type(broken.error)) == (key, BadManifest)


def test_a_folder_that_cannot_be_a_name_gives_none(store: Path, tmp_path: Path) -> None:
    """The store may lie anywhere."""
    shutil.move(store / "tiny" / "1", tmp_path / "My Model")
    (tmp_path / "My Model" / "manifest.json").unlink()
    (tmp_path / "My Model" / "manifest.json").touch()

    (broken,) = load_store(tmp_path / "My Model").broken

    assert broken.key == "model"


def test_a_manifest_that_became_sound_is_of_no_version_yet(store: Path) -> None:
    """Its number may be that of one that is served, which would be there twice."""
    manifest = (store / "tiny" / "1" / "manifest.json").read_bytes()
    overwrite(store / "tiny" / "1" / "manifest.json", b"{")
    (folder,) = ModelStore(store / "tiny" / "1", settled=Settled("files", "tiny")).find()
    overwrite(store / "tiny" / "1" / "manifest.json", manifest)

    with pytest.raises(BadManifest, match="has changed since the store was looked at"):
        read_manifest(folder)


def test_a_models_name_may_be_a_number(store: Path) -> None:
    """A folder of versions is told by the manifests that lie in them."""
    shutil.move(store / "tiny", store / "4")
    edit_manifest(store / "4" / "1", name="4")

    assert keys_of(store) == ["4/1"]
