"""What is made of files, and made again when they change, without a restart and by no clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from service.errors import BadSetting

LOOK_EVERY_S = 1.0

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)


class Renewed(Generic[T]):
    """A value made of files, as they are at present; lives on the event loop.

    Whoever asks for it has the files looked at first, at most once a second, by one `stat` each: of
    microseconds on a local disk, where such files are. While files make no value the last one
    stays; the reason is logged and counted once, and they are tried again at every look.

    Args:
        name: of the value, for the log.
        paths: of the files; one that is not there is a state like any other.
        read: makes the value, or raises `BadSetting`.
        count_failure: is told that a change could not be taken over.
        clock: the present moment in seconds.

    Raises:
        BadSetting: the files make no value to begin with.
    """

    def __init__(
        self,
        name: str,
        paths: tuple[Path, ...],
        read: Callable[[], T],
        count_failure: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._paths = paths
        self._read = read
        self._count_failure = count_failure
        self._clock = clock
        self._looked = clock()
        self._seen = self._look()  # before they are read: no change is missed
        self._value = read()
        self._reason = ""  # why the files make no value now

    def value(self) -> T:
        """The newest value that the files have made."""
        now = self._clock()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            before, self._seen = self._seen, self._look()
            if self._seen != before or self._reason:
                self._renew()
        return self._value

    def _look(self) -> list[tuple[int, ...]]:
        return [_state_of(path) for path in self._paths]

    def _renew(self) -> None:
        try:
            self._value = self._read()
        except BadSetting as error:
            self._keep(error.message)
        else:
            self._reason = ""
            log.info("read again", file=self._name)

    def _keep(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._count_failure()
            log.error("cannot be read again, what was there stays", file=self._name, reason=reason)


def _state_of(path: Path) -> tuple[int, ...]:
    """What differs when a file was written, replaced, or may be read by others than before."""
    try:
        stat = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
