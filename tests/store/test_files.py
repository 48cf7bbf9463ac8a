"""Labels and reasons: what reading and writing a version share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.errors import BadManifest, MissingFile
from service.store.files import (
    check_labels,
    decode_labels,
    encode_labels,
    read_bounded,
    read_file,
)


def test_labels_survive_their_file() -> None:
    """Any line of text is a label, whatever its script."""
    labels = ("T-shirt/top", "Ankle boot", "靴", "a\u2028b")

    assert decode_labels(encode_labels(labels)) == labels


@pytest.mark.parametrize(
    "content",
    [b"cat\ndog\n", b"cat\ndog", b"cat\r\ndog\r\n", b"\xef\xbb\xbfcat\ndog\n"],
    ids=["unix", "no last line end", "windows", "byte order mark"],
)
def test_labels_are_read_as_people_write_them(content: bytes) -> None:
    """Line ends and a byte order mark do not become part of a label."""
    assert decode_labels(content) == ("cat", "dog")


def test_labels_that_are_not_utf8_are_refused() -> None:
    """Another encoding would give wrong names."""
    with pytest.raises(BadManifest, match="the labels are not utf-8 text"):
        decode_labels("Stövel".encode("latin-1"))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("cat",), "1 labels for 2 classes"),
        (("cat", "dog", "gnu"), "3 labels for 2 classes"),
        (("cat", " "), "label 2 is ' ', it must be one line that is not blank"),
        (("cat", "\ud800"), r"label 2 is '\ud800', it must be text of whole letters"),
        (("cat\ndog", "gnu"), r"label 1 is 'cat\ndog', it must be one line that is not blank"),
    ],
)
def test_labels_that_cannot_name_the_classes_are_refused(
    labels: tuple[str, ...], reason: str
) -> None:
    """There is one line of text for each class."""
    with pytest.raises(BadManifest) as caught:
        check_labels(labels, 2)

    assert caught.value.message == reason


def test_a_file_that_cannot_be_read_is_named_with_its_reason(tmp_path: Path) -> None:
    """An absent file and a folder in its place are distinguished."""
    with pytest.raises(MissingFile, match=r"absent cannot be read: no such file or directory$"):
        read_file(tmp_path / "absent")
    with pytest.raises(MissingFile, match=r"cannot be read: is a directory$"):
        read_file(tmp_path)


def test_a_versions_file_is_read_whole(tmp_path: Path) -> None:
    """Up to its bound, an empty one, too; a link is followed."""
    (tmp_path / "file").write_bytes(b"12345678")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("file")

    read = [read_bounded(tmp_path / name, 8) for name in ("file", "empty", "link")]

    assert read == [b"12345678", b"", b"12345678"]


def test_a_file_beyond_its_bound_is_not_read(tmp_path: Path) -> None:
    """A gigabyte that takes no room on the disk would take it in memory."""
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(1 << 30)

    with pytest.raises(BadManifest) as refused:
        read_bounded(tmp_path / "manifest.json", 1 << 20)

    assert refused.value.message == ("manifest.json has 1073741824 bytes, at most 1048576 are read")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pipe", "pipe is a pipe or a device, and no file"),
        ("device", "device is a pipe or a device, and no file"),
        ("endless", "endless changes while it is read"),
        ("folder", "folder cannot be read: is a directory"),
        ("nowhere", "nowhere cannot be read: no such file or directory"),
        ("round", "round cannot be read: too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_of_a_version_is_not_waited_for(
    tmp_path: Path, name: str, reason: str
) -> None:
    """Nobody writes into the pipe, and the device has no end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for link, target in (
        ("device", "/dev/zero"),
        ("endless", "/proc/self/status"),
        ("nowhere", "absent"),
        ("round", "round"),
    ):
        (tmp_path / link).symlink_to(target)

    with pytest.raises(MissingFile) as refused:
        read_bounded(tmp_path / name, 1 << 20)

    assert refused.value.message == f"{tmp_path}/{reason}"


def test_a_path_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    """In the answer of a probe, which is JSON."""
    with pytest.raises(MissingFile) as refused:
        read_bounded(tmp_path / os.fsdecode(b"m\xff"), 8)

    assert refused.value.message.encode().endswith(
        rb"m\udcff cannot be read: no such file or directory"
    )
