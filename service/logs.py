"""Log lines: JSON objects with the request id, or lines for a person, coloured on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import orjson
import structlog

from service.config import refuses_colours

Style = Literal["auto", "json", "console"]

SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logs(level: str, style: Style) -> None:
    """Send every log line of the process to standard error in one style.

    Lines of libraries, uvicorn's and torch's among them, take the same way as our own.

    Args:
        level: the least severe lines written.
        style: `auto` is `console` where standard error is a terminal, else `json`.
    """
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(style),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.error").setLevel(max(root.level, logging.WARNING))
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # clients could have it write at will
    logging.getLogger("torch").setLevel(max(root.level, logging.WARNING))


def _renderers(style: Style) -> list[structlog.typing.Processor]:
    is_terminal = sys.stderr.isatty()
    if style == "console" or (style == "auto" and is_terminal):
        return [structlog.dev.ConsoleRenderer(colors=is_terminal and not refuses_colours())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json)]


def _as_json(line: structlog.typing.EventDict, default: Callable[[Any], Any]) -> str:
    return orjson.dumps(line, default=default).decode()
