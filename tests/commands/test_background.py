"""What a process that compiles leaves behind: nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from service.commands.background import own_temporary_folder


def test_temporary_files_go_with_a_folder_of_their_own() -> None:
    """Also those that nobody removes, after a failure too; what was set before is set again."""
    before = tempfile.gettempdir()
    left: list[Path] = []

    def fail() -> None:
        with own_temporary_folder() as folder:
            left.extend((Path(folder), Path(tempfile.mkdtemp())))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert left[1].parent == left[0]
    assert not left[0].exists()
    assert tempfile.gettempdir() == before
