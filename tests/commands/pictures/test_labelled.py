"""A folder of pictures for each class: which files are of which."""

from __future__ import annotations

from pathlib import Path

from service.commands.pictures.files import FileFinder
from service.commands.pictures.labelled import labelled_files

CLASSES = {"cat": 0, "dog": 1}


def test_files_of_every_class_are_counted_as_one_run(tmp_path: Path) -> None:
    """What is passed over is of all classes, and a folder linked into two is of the first."""
    for name in ("cat/1.png", "cat/notes.txt", "cat/more/2.png", "dog/3.png", "dog/4.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dog" / "more").symlink_to(tmp_path / "cat" / "more")
    finder = FileFinder()

    for _ in range(2):  # a bar counts them first
        files = [
            (str(one.found.path.relative_to(tmp_path)), one.truth)
            for one in labelled_files(finder, tmp_path, CLASSES)
        ]

        assert files == [("cat/1.png", 0), ("cat/more/2.png", 0), ("dog/3.png", 1)]
        assert finder.others == {".txt": 1, ".md": 1}
