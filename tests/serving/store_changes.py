"""What may happen to a store on the disk under a running service."""

from __future__ import annotations

import errno
import os
import shutil

from tests.serving.store_scene import OnDisk
from tests.store_fixtures import edit_manifest


def half(store: OnDisk) -> None:
    """A manifest that is being written."""
    store.write("manifest.json", b"{")


def nested(store: OnDisk) -> None:
    """A manifest that nests deeper than it may."""
    store.write("manifest.json", b'{"name":' * 100_000)


def pipe(store: OnDisk) -> None:
    """A pipe into which nobody writes."""
    (store.folder / "manifest.json").unlink()
    os.mkfifo(store.folder / "manifest.json")


def device(store: OnDisk) -> None:
    """A device that has no end."""
    (store.folder / "manifest.json").unlink()
    (store.folder / "manifest.json").symlink_to("/dev/zero")


def huge(store: OnDisk) -> None:
    """A manifest of a gigabyte."""
    with (store.folder / "manifest.json").open("wb") as file:
        file.truncate(1 << 30)


def lost(store: OnDisk) -> None:
    """A manifest that leads nowhere."""
    (store.folder / "manifest.json").unlink()
    (store.folder / "manifest.json").symlink_to("..data/manifest.json")


def huge_labels(store: OnDisk) -> None:
    """A new version with labels of a gigabyte."""
    directory = store.put("a/5", "a", 5)
    (directory / "labels.txt").unlink()
    with (directory / "labels.txt").open("wb") as file:
        file.truncate(1 << 30)


def odd_names(store: OnDisk) -> None:
    """Versions of what no model can be called, and folders that are none."""
    store.put(os.fsdecode(b"\xff/1"), "a", 1)
    store.put("Tiny/1", "a", 1)
    (store.folder / "lost+found").mkdir()


def moved(store: OnDisk) -> None:
    """What was there lies in a folder now."""
    (store.folder / "a").mkdir()
    shutil.move(store.folder / "4", store.folder / "a" / "4")


def link_away(store: OnDisk) -> None:
    """A model's folder is a link to a volume that is away."""
    shutil.rmtree(store.folder / "a")
    (store.folder / "a").symlink_to(store.folder.parent / "volume")


def version_away(store: OnDisk) -> None:
    """A new version is a link to a volume that is away."""
    (store.folder / "5").symlink_to(store.folder.parent / "volume")


def unseen(store: OnDisk) -> None:
    """A folder that may not be read and never held a version, beside a new model."""
    (store.folder / "private").mkdir()
    store.fail(errno.EACCES, "private")
    store.put("c/1", "c", 1)


def other_name(store: OnDisk) -> None:
    """Another model's files."""
    store.put("", "b", 5)


def no_number(store: OnDisk) -> None:
    """A version that is no number."""
    store.put("", "a", "v5")


def version_beside(store: OnDisk) -> None:
    """A version in the wrong place."""
    store.put("5", "a", 5)


def longer_name(store: OnDisk) -> None:
    """A new version of another model."""
    store.put("5", "aa", 5)


def half_of_served(store: OnDisk) -> None:
    """What serves is damaged on the disk."""
    store.write("4/manifest.json", b"{")


def model_beside(store: OnDisk) -> None:
    """A model among versions."""
    store.put("b/1", "b", 1)


def files_beside(store: OnDisk) -> None:
    """One version's files beside folders."""
    store.put("", "a", 5)


def forbidden(store: OnDisk) -> None:
    """A model's folder that may not be read any more."""
    store.fail(errno.EACCES, "a")


def stale(store: OnDisk) -> None:
    """A network volume whose server has forgotten it."""
    store.fail(errno.ESTALE, "")


def files_that_fail(store: OnDisk) -> None:
    """A disk that fails under files of what serves."""
    store.fail(errno.EIO, "a/4/manifest.json", "b/1/labels.txt")


def no_files(store: OnDisk) -> None:
    """A version's folder without its files."""
    (store.folder / "a" / "5").mkdir()


def many_classes(store: OnDisk) -> None:
    """A network that no memory holds."""
    edit_manifest(store.put("a/5", "a", 5), classes=10**18)
