"""Which files a command looks at, in which order, and what it calls them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.commands.pictures.files import FileFinder, FoundFile, read_picture, shown
from service.errors import BadSetting, ImageTooLarge, UndecodableImage
from service.images.contract import ImageLimits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures by name, at several depths, among other things."""
    for name in (
        *("b.PNG", "a.jpg", "10.heic", "notes.txt", ".hidden.jpg", "plain"),
        *("z/1.webp", "c/d/2.tif", ".git/3.png"),
    ):
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "pictures"


def found(*paths: Path, without: Path | None = None) -> list[str]:
    """The files that are found, below the folder `pictures`."""
    texts = [str(file.path) for file in FileFinder(without).find(paths)]
    return [text.partition("/pictures/")[2] for text in texts]


def test_a_folder_is_its_pictures_then_those_of_its_folders(folder: Path) -> None:
    """By name; hidden ones and other kinds are passed over, and counted."""
    finder = FileFinder()

    files = [str(file.path.relative_to(folder)) for file in finder.find([folder])]

    assert files == ["10.heic", "a.jpg", "b.PNG", "c/d/2.tif", "z/1.webp"]
    assert finder.others == {".txt": 1, "without a suffix": 1}


def test_what_is_named_itself_counts_always(folder: Path) -> None:
    """A file without a suffix, hidden, or not there: its own row says so."""
    paths = [folder / "plain", folder / ".hidden.jpg", folder / "absent", folder / "a.jpg"]

    assert found(*paths) == ["plain", ".hidden.jpg", "absent", "a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("*.[jP]*", ["a.jpg", "b.PNG"]),
        ("**/*.tif", ["c/d/2.tif"]),
        ("c/**", ["c/d/2.tif"]),
        ("[cz]", ["c/d/2.tif", "z/1.webp"]),
    ],
)
def test_a_pattern_is_what_matches_it(folder: Path, pattern: str, files: list[str]) -> None:
    """Quoted, as a shell without `**` leaves it; a folder that matches is what is in it."""
    assert found(folder / pattern) == files


def test_a_pattern_that_matches_nothing_is_refused(folder: Path) -> None:
    """An empty table would look like an answer."""
    with pytest.raises(BadSetting, match=r"no file matches .*\*\.gif"):
        found(folder / "*.gif")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder: Path) -> None:
    """What is there goes before what it could mean."""
    (folder / "a[1].jpg").touch()

    assert found(folder / "a[1].jpg") == ["a[1].jpg"]


def test_links_are_followed_and_no_folder_is_entered_twice(folder: Path) -> None:
    """Not even one that is in itself."""
    (folder / "c" / "loop").symlink_to(folder)
    (folder / "linked").symlink_to(folder / "z")
    (folder / "dangling.jpg").symlink_to(folder / "absent")

    assert found(folder / "linked") == ["linked/1.webp"]
    own = ["10.heic", "a.jpg", "b.PNG", "dangling.jpg"]  # its row says that it leads nowhere
    assert found(folder) == [*own, "c/d/2.tif", "linked/1.webp"]


def test_links_are_not_followed_within_a_pattern(folder: Path) -> None:
    """Two that are loops would be found without end."""
    for name in ("loop", "again"):
        (folder / "c" / name).symlink_to(folder)
    (folder / "linked.jpg").symlink_to(folder / "a.jpg")

    assert found(folder / "**" / "*.jpg") == ["a.jpg", "linked.jpg"]
    assert found(folder / "**" / "d" / "**" / "*.tif") == ["c/d/2.tif"]
    assert found(folder / "**" / "loop" / "*.jpg") == ["c/loop/a.jpg", "c/loop/linked.jpg"]


def test_what_was_found_is_not_found_again(folder: Path) -> None:
    """By another argument, or through a link to its folder; a link to a file is another file."""
    (folder / "linked").symlink_to(folder / "z")
    (folder / "z" / "2.webp").symlink_to(folder / "z" / "1.webp")

    files = found(folder / "linked", folder / "z" / "*", folder / "a.jpg", folder)

    once = ["linked/1.webp", "linked/2.webp"]
    assert files == [*once, "a.jpg", "10.heic", "b.PNG", "c/d/2.tif"]


def test_the_file_that_is_written_to_is_passed_over(folder: Path) -> None:
    """Rows are no picture, whatever the file is called, and however it is found."""
    for argument in (folder, folder / "*.jpg", folder / "a.jpg"):
        assert "a.jpg" not in found(argument, without=folder / "a.jpg")


def test_the_folder_that_is_written_to_is_passed_over(folder: Path) -> None:
    """Else what is drawn would be looked at in turn."""
    assert found(folder, without=folder / "c") == ["10.heic", "a.jpg", "b.PNG", "z/1.webp"]


def test_what_is_no_file_is_passed_over(folder: Path) -> None:
    """A pipe named as a picture would be waited for without end."""
    os.mkfifo(folder / "pipe.png")

    assert "pipe.png" not in found(folder)


def test_a_folder_that_cannot_be_listed_is_told(folder: Path) -> None:
    """As a file would be, that cannot be read."""
    finder = FileFinder()
    files = finder.find([folder / "c"])
    link = folder / "c" / "gone"
    link.symlink_to(folder / "z")
    first = next(files)  # the folder's folders are known now

    assert first == FoundFile(folder / "c" / "d" / "2.tif")
    link.unlink()
    (gone,) = files
    assert (gone.path, gone.reason) == (link, "cannot be listed: No such file or directory")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"caf\xe9.jpg", r"caf\xe9.jpg"),
        ("caf\xe9".encode(), "caf\xe9"),
        (b"a\nb\x7f", r"a\x0ab\x7f"),
        (rb"caf\xe9.jpg", r"caf\\xe9.jpg"),
        (b"\x85\xed\xb2\x85", r"\x85\xed\xb2\x85"),
        ("a\x85b\u2028c\u2029\u202ed\u2066".encode(), r"a\u0085b\u2028c\u2029\u202ed\u2066"),
    ],
)
def test_a_name_is_shown_in_one_line_of_utf8(name: bytes, text: str) -> None:
    """Whatever bytes it is made of, and no two names alike."""
    assert shown(Path(os.fsdecode(name))) == text


def test_no_more_is_read_than_a_picture_may_have(folder: Path) -> None:
    """And what cannot be read says why."""
    (folder / "a.jpg").write_bytes(b"12345")

    assert read_picture(folder / "a.jpg", ImageLimits(5, 1)) == b"12345"
    with pytest.raises(ImageTooLarge, match="larger than 4 bytes"):
        read_picture(folder / "a.jpg", ImageLimits(4, 1))
    for path, reason in [
        (folder, "Is a directory"),
        (folder / "x", "No such"),
        (Path("\0"), "null"),
    ]:
        with pytest.raises(UndecodableImage, match=reason):
            read_picture(path, ImageLimits(4, 1))
