"""The answer to what is no request: it reaches no application."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import orjson
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.access import SECURITY
from service.api.context import ERROR_CODE_HEADER

log = structlog.stdlib.get_logger(__name__)


def refusal(
    status: int,
    code: str,
    message: str,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    is_v2: bool = False,
) -> bytes:
    """Write an answer, which closes the connection, and a line in the log.

    Args:
        status: of HTTP.
        code: of the error.
        message: for a person.
        headers: that every answer has.
        is_v2: whether it was to be a request of the Open Inference Protocol.
    """
    request_id = secrets.token_hex(16)
    log.info("request refused", request_id=request_id, status=status, code=code)
    error = {"code": code, "message": message, "request_id": request_id}
    body = orjson.dumps({"error": message if is_v2 else error})
    lines = [
        *headers,
        *SECURITY.items(),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (ERROR_CODE_HEADER.lower().encode(), code.encode()),
        (b"connection", b"close"),
    ]
    head = b"".join(b"%s: %s\r\n" % line for line in lines)
    return b"%s%s\r\n%s" % (STATUS_LINE[status], head, body)
