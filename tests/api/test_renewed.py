"""What is made of files is made again when they change, and only then."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.api.renewed import Renewed
from service.errors import BadSetting


@dataclass(slots=True)
class Watched:
    """A number in a file, a clock that is set by hand, and what happened."""

    file: Path
    now: float = 0.0
    reads: int = 0
    failures: list[str] = field(default_factory=list)

    def read(self) -> int:
        """Make the number."""
        self.reads += 1
        try:
            return int(self.file.read_text())
        except (OSError, ValueError) as error:
            raise BadSetting(type(error).__name__) from error

    def renewed(self) -> Renewed[int]:
        """The number as it is at present."""
        count = self.failures.append
        return Renewed("number", (self.file,), self.read, lambda: count("!"), lambda: self.now)

    def replace(self, text: str) -> None:
        """Put another file in the place of the file."""
        other = self.file.with_suffix(".new")
        other.write_text(text)
        os.replace(other, self.file)  # noqa: PTH105 - as deployments do it


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """The file holds 1."""
    file = tmp_path / "number"
    file.write_text("1")
    return Watched(file)


def test_a_change_is_taken_over_at_the_next_look(watched: Watched) -> None:
    """A look is due once a second; until then the old value stands."""
    number = watched.renewed()
    watched.replace("2")
    watched.now = 0.9
    before = number.value()
    watched.now = 1.0

    assert (before, number.value(), number.value()) == (1, 2, 2)
    assert watched.reads == 2


def test_a_file_that_does_not_change_is_not_read(watched: Watched) -> None:
    """It is looked at alone."""
    number = watched.renewed()

    for second in range(100):
        watched.now = second
        number.value()

    assert watched.reads == 1


@pytest.mark.parametrize("change", [lambda w: w.replace("none"), lambda w: w.file.unlink()])
def test_a_file_that_makes_no_value_leaves_the_last_one(watched: Watched, change: object) -> None:
    """It is logged and counted once, tried at each look, and taken over when it is mended."""
    number = watched.renewed()
    assert callable(change)
    change(watched)

    with capture_logs() as lines:
        values = []
        for second in (1, 2, 3):
            watched.now = second
            values.append(number.value())
    watched.replace("2")
    watched.now = 4.0

    assert (values, watched.reads, watched.failures) == ([1, 1, 1], 4, ["!"])
    assert [line["log_level"] for line in lines] == ["error"]
    assert number.value() == 2


def test_a_file_that_fails_in_another_way_is_told_anew(watched: Watched) -> None:
    """One line for each reason."""
    number = watched.renewed()
    watched.replace("none")
    watched.now = 1.0
    number.value()
    watched.file.unlink()
    watched.now = 2.0
    number.value()

    assert watched.failures == ["!", "!"]


def test_a_file_that_makes_no_value_at_the_start_is_an_error(watched: Watched) -> None:
    """There is nothing to go on with."""
    watched.replace("none")

    with pytest.raises(BadSetting):
        watched.renewed()
