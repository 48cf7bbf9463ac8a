"""A process that works for another one; torch is not imported here, so that this comes first."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

NICENESS = 5  # a third of a share of the processor: under full load it still gets done
FIRST_TO_GO = "500"  # of 1000: where memory runs out, the kernel ends this process


@contextlib.contextmanager
def in_background() -> Iterator[None]:
    """Give way to the process that started this one, and end when it does.

    Its end closes this process's standard input. Then whatever this process has started ends, too,
    and its temporary files are removed. A SIGTERM to all processes of a container or of a systemd
    unit is meant for the service, which may want to drain first.
    """
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with own_temporary_folder() as folder:
        threading.Thread(
            target=_end_with_input, args=(folder,), name="watch input", daemon=True
        ).start()
        yield


@contextlib.contextmanager
def own_temporary_folder() -> Iterator[str]:
    """Put temporary files where they go at the end: torch's compiler leaves some of its own."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def _end_with_input(folder: str) -> None:
    while os.read(sys.stdin.fileno(), 1):  # past Python's buffer, which has a lock
        pass
    shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
