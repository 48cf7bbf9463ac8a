"""Compiling in a process of its own, beside a service that answers.

torch's compiler holds the GIL for seconds on end: in the service's own process every request
would wait for it. What it imports would stay in memory, and where it runs out of that the service
would end with it. So the service starts `sge-serve compile`, and takes the result from the folder
that it was told to fill.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
from pydantic_core import from_json

import service
from service.config import EngineName, Settings, flags_of
from service.errors import EngineFailed

Build = Callable[[Path], None]
"""Fills a cache folder with an engine's files."""

log = structlog.stdlib.get_logger(__name__)

COMPLAINT = "sge-serve: "  # with which the command says why it failed


def program_of(module: str) -> tuple[str, ...]:
    """A command that runs `main` of a module of this very service.

    The folder in which this process was started may hold another `service`; -P passes it over.
    """
    code = f"import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; main()"
    return sys.executable, "-P", "-c", code, str(Path(service.__file__).parents[1])


class BackgroundBuild:
    """Runs `sge-serve compile` for one engine of one model, and waits for it.

    It gives way to this process, and ends with it, however that ends; what a terminal sends to
    this process (Ctrl-C) does not reach it. What it logs is logged here.

    Args:
        settings: of the service.
        engine: what to build.
        model: `name/version` in the store.
    """

    def __init__(self, settings: Settings, engine: EngineName, model: str) -> None:
        self._settings = settings.model_copy(
            update={"engine": engine, "models": (model,), "log_format": "json"}
        )

    def __call__(self, cache_dir: Path) -> None:
        """Fill a cache folder.

        Raises:
            EngineFailed: the process failed or was killed.
            OSError: it cannot be started.
        """
        flags = flags_of(self._settings.model_copy(update={"cache_dir": cache_dir}))
        command = [*program_of("service.cli"), "compile", "--background", *flags]
        with subprocess.Popen(  # noqa: S603 - this very program, with its own settings
            command,
            stdin=subprocess.PIPE,  # which closes when this process ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Linux shares the processor out between sessions first: in one of its own it would
            # take as much as the service, whatever its priority.
            process_group=0,
        ) as process:
            complaint = log_lines(process.stderr or ())
        require_success(process.returncode, complaint)


def log_lines(lines: Iterable[str]) -> str:
    """Log what a process writes as lines of this one, but for its complaint.

    Args:
        lines: objects of JSON where it logs itself, else whatever a compiler has to say.

    Returns:
        The complaint, which may have several lines; empty where there is none.
    """
    complaint: list[str] = []
    for line in lines:
        if complaint or line.startswith(COMPLAINT):
            complaint.append(line.removeprefix(COMPLAINT))
        elif text := line.strip():
            _log_again(text)
    return "".join(complaint).strip()


def _log_again(text: str) -> None:
    try:
        line = from_json(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("event"), str):
        log.info("compiling", said=text)
        return
    event, level = line.pop("event"), str(line.pop("level", "")).upper()
    line.pop("timestamp", None)
    log.log(logging.getLevelNamesMapping().get(level, logging.INFO), event, **line)


def require_success(code: int, complaint: str) -> None:
    """Say what went wrong in a process.

    Args:
        code: with which it ended; what killed it, negative.
        complaint: its own words.

    Raises:
        EngineFailed: it failed.
    """
    if code < 0:
        raise EngineFailed(
            f"the process that compiles was killed by signal {-code}, {signal.strsignal(-code)}"
            + ("; there may be too little memory" if -code == signal.SIGKILL else "")
        )
    if code:
        raise EngineFailed(complaint or f"the process that compiles ended with exit code {code}")
