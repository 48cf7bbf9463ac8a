"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from service.commands.whole_file import (
    require_different,
    require_writable,
    write_whole,
    writing_whole,
)
from service.errors import BadSetting


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    """Nothing else is left in the folder."""
    file = tmp_path / "out"
    file.write_bytes(b"a long text of before")
    file.chmod(0o640)

    require_writable("--json", file)
    write_whole("--json", file, b"new")

    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o640)
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_to_its_end_leaves_what_was_there(tmp_path: Path) -> None:
    """As on a full disk, or after Ctrl-C."""
    file = tmp_path / "out"
    file.write_bytes(b"before")

    def write_half() -> None:
        with writing_whole("--onnx", file) as beside:
            beside.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(BadSetting, match=r"--onnx .*out cannot be written: No space left"):
        write_half()

    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("before", [b"before", None])
def test_a_link_stays_a_link(tmp_path: Path, before: bytes | None) -> None:
    """The file that it points to is written, whether it is there or not."""
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    if before is not None:
        target.write_bytes(before)
    link.symlink_to("elsewhere/target")

    require_writable("--json", link)
    write_whole("--json", link, b"new")

    assert (link.is_symlink(), target.read_bytes()) == (True, b"new")


def test_a_pipe_gets_what_is_written(tmp_path: Path) -> None:
    """It stays a pipe."""
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()

    require_writable("--json", pipe)
    write_whole("--json", pipe, b"through")

    assert pipe.is_fifo()
    reader.join()
    assert read == [b"through"]


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    """`/dev/null`, here by a link."""
    link = tmp_path / "null"
    link.symlink_to(os.devnull)

    require_writable("--html", link)
    write_whole("--html", link, b"nothing")

    assert (link.is_symlink(), link.is_char_device()) == (True, True)


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A folder, a file in no folder, and a link to itself."""
    itself = tmp_path / "itself"
    itself.symlink_to("itself")

    for file, reason in (
        (tmp_path, "is a directory"),
        (tmp_path / "absent" / "out", "No such file or directory"),
        (itself, "[Ss]ymlink loop|Too many levels"),
    ):
        with pytest.raises(BadSetting, match=f"--json .* cannot be written: .*({reason})"):
            require_writable("--json", file)


def test_two_flags_for_one_file_are_refused(tmp_path: Path) -> None:
    """By whatever names, and before it is there; a device takes both."""
    (tmp_path / "link").symlink_to("out")
    require_different({"--json": tmp_path / "out", "--html": tmp_path / "other"})
    require_different({"--json": Path(os.devnull), "--html": Path(os.devnull)})

    with pytest.raises(BadSetting, match=r"--json and --html are the same file: .*link"):
        require_different({"--json": tmp_path / "out", "--html": tmp_path / "link"})
