"""The end of a process that does not come to its end by itself."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable

import structlog

EXIT_CODE = 1
GRACE_S = 0.3  # for the last line of the log, beyond which the system ends the process without one

log = structlog.stdlib.get_logger(__name__)


class LastResort:
    """Ends the process at a moment, whatever its threads do then.

    A thread of its own waits for the moment. Should not even that one run, because native code
    holds the GIL, the system's alarm ends the process (SIGALRM) a moment later.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self._leave = leave
        self._wishes: queue.SimpleQueue[float] = queue.SimpleQueue()  # a signal may come in `put`
        self._moment = float("inf")
        self._is_ready = False

    def start(self) -> None:
        """Be ready; before that nothing is ended."""
        threading.Thread(target=self._wait, name="last resort", daemon=True).start()
        self._is_ready = True

    def arm(self, within_s: float) -> None:
        """Leave within so many seconds; a further call can only bring that forward.

        Called on the main thread, where signals are handled, too.
        """
        moment = time.monotonic() + within_s
        if not self._is_ready or moment >= self._moment:
            return
        self._moment = moment
        signal.setitimer(signal.ITIMER_REAL, within_s + GRACE_S)
        self._wishes.put(moment)

    def _wait(self) -> None:
        moment = self._wishes.get()
        while (left_s := moment - time.monotonic()) > 0:
            try:
                moment = self._wishes.get(timeout=left_s)
            except queue.Empty:
                break
        names = [thread.name for thread in threading.enumerate()]
        log.critical("the end does not come by itself: leaving", threads=names)
        self._leave(EXIT_CODE)
