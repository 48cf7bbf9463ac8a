"""Files that are sound or count as missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.engines.artifact_cache import ArtifactCache


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Content comes back as it was, the newest under a name; nothing else lies in the folder."""
    files = ArtifactCache(tmp_path / "made" / "for it")

    files.write("a", b"first")
    files.write("a", b"second")
    files.write("empty", b"")

    assert files.read("a") == b"second"
    assert files.read("empty") == b""
    assert sorted(path.name for path in files.folder.iterdir()) == ["a", "empty"]


def test_an_open_file_stays_as_it_is(tmp_path: Path) -> None:
    """It begins at the content, whatever becomes of the file under its name."""
    files = ArtifactCache(tmp_path)
    files.write("a", b"first")
    file = files.open("a")
    assert file is not None
    with file:
        files.write("a", b"second")
        (tmp_path / "a").unlink()

        assert file.read() == b"first"

    assert files.open("a") is None


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """A missing file and a missing folder read alike."""
    assert ArtifactCache(tmp_path).read("a") is None
    assert ArtifactCache(tmp_path / "nowhere").read("a") is None


@pytest.mark.parametrize(
    "damaged",
    [b"", b"short", b"\0" * 32 + b"content"],
    ids=["emptied", "cut within the hash", "another's hash"],
)
def test_damage_is_not_read(tmp_path: Path, damaged: bytes) -> None:
    """A file that is not what was written counts as missing."""
    files = ArtifactCache(tmp_path)
    files.write("a", b"content")
    (tmp_path / "a").write_bytes(damaged)

    assert files.read("a") is None


def test_a_cut_file_is_not_read(tmp_path: Path) -> None:
    """Every byte counts, the last one too."""
    files = ArtifactCache(tmp_path)
    files.write("a", b"content")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-1])

    assert files.read("a") is None


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """What cannot take its place is removed, and the caller is told."""
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        ArtifactCache(tmp_path).write("taken", b"content")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_what_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    """Without a folder to write to, the next start does the work again."""
    (tmp_path / "file").touch()
    files = ArtifactCache(tmp_path / "file")

    files.keep("a", b"content")

    assert files.read("a") is None


def used_at(path: Path, moment: float) -> None:
    """Let a file look as if it had last been used then."""
    os.utime(path, (moment, moment))


def test_beyond_the_limit_the_longest_unused_goes(tmp_path: Path) -> None:
    """Reading is a use; what was just written stays, however large."""
    files = ArtifactCache(tmp_path, limit_bytes=3 * (32 + 8))
    for moment, name in enumerate("abc"):
        files.write(name, b"content.")
        used_at(tmp_path / name, moment)

    assert files.read("a") == b"content."
    files.write("d", b"content.")
    after_one_more = sorted(path.name for path in tmp_path.iterdir())
    files.write("e", bytes(1000))

    assert after_one_more == ["a", "c", "d"]
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_what_was_abandoned_half_written_goes_after_a_day(tmp_path: Path) -> None:
    """A file that another service is writing at this moment stays."""
    for name in ("old.unfinished", "new.unfinished"):
        (tmp_path / name).touch()
    used_at(tmp_path / "old.unfinished", 0)

    ArtifactCache(tmp_path).write("a", b"content")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "new.unfinished"]


def test_a_file_is_held_whether_it_is_sound_or_not(tmp_path: Path) -> None:
    """Only reading it costs the time to know."""
    (tmp_path / "a").write_bytes(b"damaged")
    files = ArtifactCache(tmp_path)

    assert files.holds("a")
    assert not files.holds("b")
    assert files.read("a") is None


BUILDER = """
import pathlib, sys
from service.engines.artifact_cache import ArtifactCache

own = sys.argv[2].encode() * 50_000
files = ArtifactCache(pathlib.Path(sys.argv[1]), limit_bytes=250_000)
print("ready", flush=True)
sys.stdin.readline()
for number in range(200):
    content = files.read("shared")
    assert content is None or (len(content) == 50_000 and len(set(content)) == 1), content[:9]
    files.write(f"{sys.argv[2]}{number}", own)
    files.write("shared", own)
"""


def test_two_processes_build_into_one_folder_at_once(tmp_path: Path) -> None:
    """Either reads a whole file of one of them or none, and neither trips over what is removed."""
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", BUILDER, str(tmp_path), letter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for letter in "xy"
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"

    ends = [builder.communicate("go\n")[1] for builder in builders]

    assert [builder.returncode for builder in builders] == [0, 0], ends
    content = ArtifactCache(tmp_path).read("shared")
    assert content in {b"x" * 50_000, b"y" * 50_000}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 500_000


def test_why_a_file_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """Before minutes are spent on what it would hold."""
    (tmp_path / "taken").write_bytes(b"")

    assert ArtifactCache(tmp_path / "made").why_not(1000) is None
    assert "taken" in (ArtifactCache(tmp_path / "taken").why_not(1) or "")
    assert ArtifactCache(tmp_path, 2_000_000).why_not(3_000_000) == (
        "the limit is 2 MB, and 3 may be needed"
    )
    more_than_any_disk = ArtifactCache(tmp_path).why_not(10**24) or ""
    assert re.fullmatch(rf"\d+ MB are free, and {10**18} may be needed", more_than_any_disk)


def test_a_build_has_room_on_the_disk_of_the_cache(tmp_path: Path) -> None:
    """In a folder that is empty, ends with the build, and shares none of the cache's own."""
    files = ArtifactCache(tmp_path / "compiled")

    with files.workspace() as one, files.workspace() as other:
        (one / "half").write_bytes(b"a program")
        seen = list(other.iterdir())

    assert seen == []
    assert tmp_path in one.parents
    assert not one.exists()


def test_what_a_killed_build_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    """After a day: one that still goes on elsewhere is younger."""
    files = ArtifactCache(tmp_path / "compiled")
    with files.workspace() as folder:
        building = folder.parent
    old, young = building / "old", building / "young"
    for left in (old, young):
        left.mkdir()
    os.utime(old, (0, 0))

    with files.workspace():
        assert (old.exists(), young.exists()) == (False, True)


def test_a_cache_with_room_lends_itself(tmp_path: Path) -> None:
    """What is written stays."""
    cache = ArtifactCache(tmp_path / "compiled")

    with cache.with_room_for(1000) as lent:
        lent.write("package", b"content")

    assert cache.read("package") == b"content"


def test_a_cache_without_room_lends_one_that_is_gone_afterwards(tmp_path: Path) -> None:
    """In a folder of the same name, so that another process finds it by that."""
    cache = ArtifactCache(tmp_path / "compiled", limit_bytes=10)

    with cache.with_room_for(1000) as lent:
        lent.write("package", b"content of more bytes")
        is_kept = lent.read("package") is not None

    assert (is_kept, lent.folder.name, lent.folder.exists()) == (True, "compiled", False)
    assert not cache.holds("package")
