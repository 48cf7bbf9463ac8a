"""Files that are read whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engines.sealed_files import SealedFiles


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Content comes back as it was, the newest under a name; nothing else lies in the folder."""
    files = SealedFiles(tmp_path / "made" / "for it")

    files.write("a", b"first")
    files.write("a", b"second")
    files.write("empty", b"")

    assert files.read("a") == b"second"
    assert files.read("empty") == b""
    assert sorted(path.name for path in files.folder.iterdir()) == ["a", "empty"]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """A missing file and a missing folder read alike."""
    assert SealedFiles(tmp_path).read("a") is None
    assert SealedFiles(tmp_path / "nowhere").read("a") is None


@pytest.mark.parametrize(
    "damaged",
    [b"", b"short", b"\0" * 32 + b"content"],
    ids=["emptied", "cut within the hash", "another's hash"],
)
def test_damage_is_not_read(tmp_path: Path, damaged: bytes) -> None:
    """A file that is not what was written counts as missing."""
    files = SealedFiles(tmp_path)
    files.write("a", b"content")
    (tmp_path / "a").write_bytes(damaged)

    assert files.read("a") is None


def test_a_cut_file_is_not_read(tmp_path: Path) -> None:
    """Every byte counts, the last one too."""
    files = SealedFiles(tmp_path)
    files.write("a", b"content")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-1])

    assert files.read("a") is None


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """What cannot take its place is removed, and the caller is told."""
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        SealedFiles(tmp_path).write("taken", b"content")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_what_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    """Without a folder to write to, the next start does the work again."""
    (tmp_path / "file").touch()
    files = SealedFiles(tmp_path / "file")

    files.keep("a", b"content")

    assert files.read("a") is None
