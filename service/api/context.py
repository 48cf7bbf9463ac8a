"""What the edge knows of a request under way, kept in its ASGI scope."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import Scope

from service.metrics import NO_MODEL
from service.serving.runtime import Runtime
from service.tracing.request_trace import UNTRACED, RequestTrace

REQUEST_ID_HEADER = "X-Request-Id"
ERROR_CODE_HEADER = "X-Error-Code"  # for a balancer, which reads no bodies; V2's have no code
ARRIVED = "sge.arrived"  # in a scope: when the head was complete, by `time.monotonic`
PROBES_ONLY = "sge.probes_only"  # in the scope of a connection that is kept for probes
LONGEST_REQUEST_ID = 128
LONGEST_PATH = 200  # characters of a path in the access log and in spans


class Outcome(StrEnum):
    """How a request may end beside the errors that have a class of their own."""

    OK = "ok"
    INTERNAL = "internal"  # a fault of the service
    CANCELLED = "cancelled"  # the drain's time was over
    DISCONNECTED = "disconnected"  # the client hung up
    NO_MESSAGE = "no_message"  # the same before it sent all, or gRPC refused what it sent
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    HTTP_ERROR = "http_error"


@dataclass(slots=True)
class RequestContext:
    """One request's identity and fate; the stages write the fate, the access log reads it.

    Attributes:
        request_id: the client's own, or made here.
        began: the moment it came in, of `time.monotonic`; from it on times and deadlines count.
        model: name and version of the model that was asked.
        outcome: an `Outcome`, or the code of the error that was answered.
        status: of the answer; 0 until it is sent.
        images: how many it held, once known.
        key: the name of the API key that it came with.
        trace: what travels with its images, and notes when its phases began.
    """

    request_id: str
    began: float
    model: tuple[str, str] = NO_MODEL
    outcome: str = Outcome.OK
    status: int = 0
    images: int = 0
    key: str = ""
    trace: RequestTrace = UNTRACED


def open_context(scope: Scope) -> RequestContext:
    """Make the context of a request that comes in, and keep it in its scope."""
    request_id = choose_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
    context = RequestContext(request_id, began=scope.get(ARRIVED, time.monotonic()))
    scope["sge.context"] = context
    return context


def choose_request_id(sent: str | None) -> str:
    """Take the client's id where it is printable ASCII of bearable length, else make one."""
    if sent and len(sent) <= LONGEST_REQUEST_ID and sent.isascii() and sent.isprintable():
        return sent
    return secrets.token_hex(16)


def path_of(scope: Scope) -> str:
    """The path of a request without that under which a proxy offers the service."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def shortened(path: str) -> str:
    """A path as the access log and spans show it."""
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]} ..."


def context_of(scope: Scope) -> RequestContext:
    """The context of a request that was opened."""
    context: RequestContext = scope["sge.context"]
    return context


async def _runtime_of(request: Request) -> Runtime:  # else it would run in a thread
    runtime: Runtime = request.app.state.runtime
    return runtime


RuntimeOf = Annotated[Runtime, Depends(_runtime_of)]
