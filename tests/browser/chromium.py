"""Chromium without a window, steered through pipes by its DevTools protocol."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
READS_FROM, WRITES_TO = 3, 4  # the descriptors that `--remote-debugging-pipe` means


class Page:
    """One page of a browser: open an address, run JavaScript, hand over files."""

    def __init__(self, commands: BinaryIO, events: BinaryIO) -> None:
        self._commands = commands
        self._events = events
        self._ids = itertools.count(1)
        self._session: dict[str, str] = {}
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def open(self, address: str) -> None:
        """Load a page; `until` says when it stands."""
        self._ask("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression, awaited where it is a promise; as a click of a person."""
        told = self._ask(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, claim: str) -> None:
        """Wait until an expression is true; the test's time-out bounds it."""
        while not self.run(claim):
            self.run("new Promise(requestAnimationFrame)")

    def pick(self, selector: str, file: Path) -> None:
        """Choose a file in an input field."""
        found = self._ask("Runtime.evaluate", expression=f"document.querySelector('{selector}')")
        field = found["result"]["objectId"]
        self._ask("DOM.setFileInputFiles", files=[str(file)], objectId=field)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        command = {"id": number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(command).encode() + b"\0")
        self._commands.flush()
        while (message := self._next()).get("id") != number:
            pass
        assert "error" not in message, message["error"]
        result: dict[str, Any] = message["result"]
        return result

    def _next(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._events.read(1)) != b"\0":
            assert byte, "the browser has ended"
            message += byte
        told: dict[str, Any] = json.loads(message)
        return told


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """Start Chromium with a profile of its own, and end it afterwards."""
    assert CHROMIUM is not None
    (theirs_in, ours_out), (ours_in, theirs_out) = _high_pipe(), _high_pipe()
    arguments = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    actions = [
        (os.POSIX_SPAWN_DUP2, theirs_in, READS_FROM),
        (os.POSIX_SPAWN_DUP2, theirs_out, WRITES_TO),
    ]
    process = os.posix_spawn(CHROMIUM, arguments, os.environ, file_actions=actions)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_out, "wb") as commands, os.fdopen(ours_in, "rb") as events:
            yield Page(commands, events)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose descriptors are clear of those that the browser is given."""
    low = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return reading, writing
