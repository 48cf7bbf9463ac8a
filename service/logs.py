"""Log lines: JSON objects with the request id, or lines for a person, coloured on a terminal."""

from __future__ import annotations

import logging
import re
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
REQUEST = ("method", "path", "status")  # what a person looks for first in the access log
TRACEBACKS = {"exception", "stack"}
OF_HEADERS = (  # where OpenTelemetry warns of what is wrong with a client's headers, and cites them
    "opentelemetry.baggage",
    "opentelemetry.propagators",
    "opentelemetry.trace.span",
)
TRACE_OF_TORCH = "torch.__trace"  # writes nothing, or to the folder of TORCH_TRACE
OBEYED = re.compile("[\x7f-\x9f]")  # by terminals, of what JSON itself does not escape


def configure_logs(level: str, style: Style) -> None:
    """Send every log line of the process to standard error in one style.

    Lines of libraries, uvicorn's and torch's among them, take the same way as our own. torch sets
    its loggers up when it is imported: whoever calls this before has to call it again then.

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
    _take_over_torch()
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # clients could have it write at will
    logging.getLogger("torch").setLevel(max(root.level, logging.WARNING))
    for name in OF_HEADERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _take_over_torch() -> None:
    """Leave torch's loggers only what writes to files that somebody has asked for."""
    for name, logger in logging.root.manager.loggerDict.items():
        is_of_torch = name.partition(".")[0] == "torch" and name != TRACE_OF_TORCH
        if isinstance(logger, logging.Logger) and is_of_torch and logger.handlers:
            logger.handlers = [
                each for each in logger.handlers if isinstance(each, logging.FileHandler)
            ]
            logger.propagate = True


def _renderers(style: Style) -> list[structlog.typing.Processor]:
    is_terminal = sys.stderr.isatty()
    if style == "console" or (style == "auto" and is_terminal):
        return [
            structlog.processors.format_exc_info,
            _begin_with_request,
            _without_controls,
            structlog.dev.ConsoleRenderer(
                colors=is_terminal and not refuses_colours(), sort_keys=False
            ),
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json)]


def _begin_with_request(
    _: object, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Have the access log's lines begin with what was asked for and how it was answered."""
    if line.get("event") == "request" and line.keys() >= set(REQUEST):
        line["event"] = " ".join(str(line.pop(name)) for name in REQUEST)
    return line


def _without_controls(
    _: object, __: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Replace what a terminal would obey, or what would look like a line of its own.

    Paths and messages may hold what a client wrote. Only tracebacks have several rows, indented.
    """
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = _indented(value) if name in TRACEBACKS else printable(value)
    return line


def _indented(text: str) -> str:
    return "\n".join(f"  {printable(row)}" for row in text.split("\n"))


def printable(text: str) -> str:
    """A text with a question mark for each character that a terminal does not show."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _as_json(line: structlog.typing.EventDict, default: Callable[[Any], Any]) -> str:
    text = orjson.dumps(line, default=default).decode()
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
