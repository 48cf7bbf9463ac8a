"""A store on the disk that changes under a running service, in every way that it may."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.errors import NotLoaded
from service.serving.memory_room import Memory
from service.store.layout import VersionFolder
from service.store.manifest import Manifest
from service.store.model_store import ModelStore
from tests.serving import store_changes as happens
from tests.serving.store_scene import OnDisk, watched
from tests.store_fixtures import edit_manifest

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happens to a store.

    Attributes:
        layout: of the store.
        what: happens.
        broken: what readiness and the index say then, by version; `STORE` stands for its path.
        warnings: how the lines of the log begin.
    """

    layout: str
    what: Callable[[OnDisk], object]
    broken: dict[str, str]
    warnings: tuple[str, ...] = ()


INVALID = "invalid manifest: invalid JSON: "
PATTERN = "string should match pattern '^[1-9][0-9]*$'"
MIXED = "the store mixes layouts, it has "
EMPTY = "the store is empty, what is served stays"
NO_FILE = "STORE/manifest.json is a pipe or a device, and no file"
ABSENT = "manifest.json cannot be read: no such file or directory"

MANY = (
    "the engine raised RuntimeError: Storage size calculation overflowed with "
    "sizes=[1000000000000000000, 512]"
)

CHANGES = [
    Change(
        "files", happens.half, {"a": f"{INVALID}EOF while parsing an object at line 1 column 1"}
    ),
    Change(
        "files", happens.nested, {"a": f"{INVALID}recursion limit exceeded at line 1 column 1609"}
    ),
    Change("files", happens.pipe, {"a": NO_FILE}),
    Change("files", happens.device, {"a": NO_FILE}),
    Change(
        "files", happens.huge, {"a": "manifest.json has 1073741824 bytes, at most 1048576 are read"}
    ),
    Change("files", happens.lost, {"a": f"STORE/{ABSENT}"}),
    Change("files", happens.other_name, {"a/5": "the manifest is that of b/5, the folder is a/5"}),
    Change("files", happens.no_number, {"a": f"invalid manifest: version 'v5': {PATTERN}"}),
    Change("files", happens.version_beside, {}, (f"{MIXED}manifest.json and 5/manifest.json",)),
    Change("files", OnDisk.empty, {}, (EMPTY,)),
    Change(
        "versions", happens.longer_name, {"a/5": "the manifest is that of aa/5, the folder is a/5"}
    ),
    Change("versions", happens.half_of_served, {}),
    Change(
        "versions", happens.model_beside, {}, (f"{MIXED}4/manifest.json and b/1/manifest.json",)
    ),
    Change("versions", happens.files_beside, {}, (f"{MIXED}manifest.json and 4/manifest.json",)),
    Change(
        "versions",
        happens.moved,
        {},
        ("the store held the versions of one model and now holds mo",),
    ),
    Change("versions", happens.version_away, {"a/5": f"STORE/5/{ABSENT}"}),
    Change("versions", OnDisk.empty, {}, (EMPTY,)),
    Change(
        "models", happens.version_beside, {}, (f"{MIXED}5/manifest.json and a/4/manifest.json",)
    ),
    Change("models", happens.files_beside, {}, (f"{MIXED}manifest.json and a/4/manifest.json",)),
    Change("models", happens.odd_names, {}, ("'Tiny'", r"'\udcff'")),
    Change(
        "models", happens.link_away, {}, ("STORE/a cannot be listed: no such file or directory",)
    ),
    Change("models", happens.forbidden, {}, ("STORE/a cannot be listed: permission denied",)),
    Change("models", happens.stale, {}, ("STORE cannot be listed: stale file handle",)),
    Change("models", happens.files_that_fail, {}),
    Change("models", happens.no_files, {"a/5": f"STORE/a/5/{ABSENT}"}),
    Change(
        "models",
        happens.huge_labels,
        {"a/5": "labels.txt has 1073741824 bytes, at most 16777216 are read"},
    ),
    Change("models", happens.many_classes, {"a/5": MANY}),
    Change("models", OnDisk.empty, {}, (EMPTY,)),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: f"{one.layout}-{one.what.__name__}")
async def test_a_store_that_changes_takes_nothing_down(
    change: Change, tmp_path: Path, tiny_version: Path
) -> None:
    """What served still serves; readiness, the index or the log say why; the next change holds."""
    store = OnDisk(tmp_path / "store", tiny_version, change.layout)
    others = " b/1" if change.layout == "models" else ""
    async with watched(store) as watch:
        before, quiet = await watch.served(), watch.warnings()
        change.what(store)
        await watch.look(5)
        during, told = await watch.served(), watch.warnings()
        reasons = await watch.broken()
        store.fill(9)
        await watch.look(2)
        after, left = await watch.served(), await watch.broken()

    assert (before, during, after) == (f"a/4{others}", f"a/4{others}", f"a/9{others}")
    assert (reasons, left) == (change.broken, {})
    assert quiet == []
    assert [line.startswith(one) for line, one in zip(told, change.warnings, strict=True)] == [
        True for _ in told
    ], told


async def test_a_folder_that_never_held_a_version_hides_no_other(
    tmp_path: Path, tiny_version: Path
) -> None:
    """As a volume's own folders, which nobody may read."""
    store = OnDisk(tmp_path / "store", tiny_version, "models")
    async with watched(store) as watch:
        happens.unseen(store)
        await watch.look(2)
        served, broken, told = await watch.served(), await watch.broken(), watch.warnings()

    assert (served, broken, told) == ("a/4 b/1 c/1", {}, [])


async def test_a_manifest_that_is_replaced_as_it_is_read_lets_nothing_go(
    tmp_path: Path, tiny_version: Path
) -> None:
    """What was found is not what was read: neither takes over before the next look."""
    swaps: list[int] = []

    class Swapped(ModelStore):
        """Replaces a version after it was found and before it is read."""

        def manifest(self, version: VersionFolder) -> Manifest:
            while swaps:
                store.fill(swaps.pop())
            return super().manifest(version)

    store = OnDisk(tmp_path / "store", tiny_version, "files")
    async with watched(store, Swapped) as watch:
        store.fill(5)
        swaps.append(6)
        await watch.look(2)
        during, reasons = await watch.served(), await watch.broken()
        await watch.look(2)
        after, left = await watch.served(), await watch.broken()

    assert (during, after) == ("a/4", "a/6")
    assert reasons == {"a/5": "the manifest is that of a/6, the folder is a/5"}
    assert left == {}


async def test_a_volume_of_kubernetes_is_taken_over_when_it_swaps(
    tmp_path: Path, tiny_version: Path
) -> None:
    """Its files are links into a folder that is replaced whole; a damaged one changes nothing."""
    store = OnDisk(tmp_path / "store", tiny_version, "files")
    async with watched(store) as watch:
        mount(store, "..1", 5)
        await watch.look(2)
        first = await watch.served()
        mount(store, "..2", 6)
        store.write("..2/manifest.json", b"{")
        await watch.look(2)
        second, reasons = await watch.served(), await watch.broken()
        mount(store, "..3", 7)
        await watch.look(2)
        third, left = await watch.served(), await watch.broken()

    assert (first, second, third) == ("a/5", "a/5", "a/7")
    assert (list(reasons), left) == (["a"], {})


def mount(store: OnDisk, folder: str, number: int) -> None:
    """Do as kubelet does: a new folder, `..data` that leads to it, and a link for each file."""
    store.put(folder, "a", number)
    (store.folder / "..data_tmp").symlink_to(folder)
    (store.folder / "..data_tmp").rename(store.folder / "..data")
    for path in (store.folder / folder).iterdir():
        link = store.folder / path.name
        if not link.is_symlink():
            link.unlink()
            link.symlink_to(Path("..data") / path.name)


async def test_a_broken_version_is_tried_again_when_its_own_files_change(
    tmp_path: Path, tiny_version: Path
) -> None:
    """Not when another model's do; whoever loads it has it tried at once."""
    store = OnDisk(tmp_path / "store", tiny_version, "models")
    async with watched(store) as watch:
        edit_manifest(store.put("a/5", "a", 5), classes=4)
        await watch.look(2)
        tried = [await watch.loads("failed")]
        edit_manifest(store.folder / "b" / "1", licence="another")
        await watch.look(3)
        tried.append(await watch.loads("failed"))
        with pytest.raises(NotLoaded, match="a/5: 3 labels for 4 classes"):
            await watch.service.runtime.versions.load("a")
        tried.append(await watch.loads("failed"))
        edit_manifest(store.folder / "a" / "5", classes=3)
        await watch.look(2)
        served, broken = await watch.served(), await watch.broken()

    assert tried == [1, 1, 2]
    assert (served, broken) == ("a/5 b/1", {})


async def test_a_version_that_did_not_fit_into_memory_is_tried_again(
    tmp_path: Path, tiny_version: Path
) -> None:
    """In a store that does not change any more, by growing pauses."""
    store = OnDisk(tmp_path / "store", tiny_version, "models")
    free: list[int | None] = [None]
    async with watched(store, memory=Memory(free_bytes=lambda: free[0])) as watch:
        free[0] = 64 << 20
        store.put("a/5", "a", 5)
        tried = []
        for _ in range(7):
            await watch.look(1)
            tried.append(await watch.loads("no_memory"))
        free[0] = None
        await watch.look(5)
        served, broken = await watch.served(), await watch.broken()

    assert tried == [0, 1, 1, 2, 2, 2, 3]
    assert (served, broken) == ("a/5 b/1", {})


async def test_what_has_left_the_store_is_not_listed_any_more(
    tmp_path: Path, tiny_version: Path
) -> None:
    """A model that was broken, and one that was unloaded, which stays so when it comes back."""
    store = OnDisk(tmp_path / "store", tiny_version, "models")
    async with watched(store) as watch:
        store.put("c/1", "wrong", 1)
        await watch.look(2)
        before = await watch.broken()
        watch.service.runtime.versions.unload("b")
        shutil.rmtree(store.folder / "c")
        shutil.rmtree(store.folder / "b")
        await watch.look(2)
        after = [f"{one.name}/{one.version}" for one in watch.service.runtime.versions.states()]
        store.put("b/1", "b", 1)
        await watch.look(2)
        served = await watch.served()

    assert before == {"c/1": "the manifest is that of wrong/1, the folder is c/1"}
    assert (after, served) == (["a/4"], "a/4")


async def test_a_store_that_cannot_be_read_is_told_to_who_loads(
    tmp_path: Path, tiny_version: Path
) -> None:
    """And not as a fault of the service."""
    store = OnDisk(tmp_path / "store", tiny_version, "models")
    async with watched(store) as watch:
        store.put("2", "a", 2)
        with pytest.raises(NotLoaded, match=r"mixes layouts, it has 2/manifest\.json and a/4/man"):
            await watch.service.runtime.versions.load("a")
        served = await watch.served()

    assert served == "a/4 b/1"
