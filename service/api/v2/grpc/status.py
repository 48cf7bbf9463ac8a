"""Each error's status code of gRPC: the only place that knows both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from grpc import StatusCode

from service import errors
from service.api.errors import bounded, internal_message, told

CODE_OF: dict[type[errors.ServiceError], StatusCode] = {
    errors.BadInput: StatusCode.INVALID_ARGUMENT,
    errors.UndecodableImage: StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedFormat: StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedEncoding: StatusCode.UNIMPLEMENTED,
    errors.ImageTooLarge: StatusCode.INVALID_ARGUMENT,
    errors.BodyTooLarge: StatusCode.RESOURCE_EXHAUSTED,  # what gRPC itself says of such messages
    errors.SlowBody: StatusCode.DEADLINE_EXCEEDED,
    errors.BadRequest: StatusCode.INVALID_ARGUMENT,
    errors.UnknownModel: StatusCode.NOT_FOUND,
    errors.UnknownHost: StatusCode.INVALID_ARGUMENT,
    errors.Unauthorized: StatusCode.UNAUTHENTICATED,
    errors.AdminClosed: StatusCode.UNIMPLEMENTED,
    errors.NotLoaded: StatusCode.FAILED_PRECONDITION,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    errors.OverShare: StatusCode.RESOURCE_EXHAUSTED,
    errors.NotReady: StatusCode.UNAVAILABLE,
    errors.Draining: StatusCode.UNAVAILABLE,
    errors.TooManyConnections: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.EngineFailed: StatusCode.INTERNAL,
    errors.EngineLost: StatusCode.INTERNAL,
}
# By this trailer clients that are configured to try again know when (gRFC A6).
PUSHBACK = "grpc-retry-pushback-ms"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call ends that is not answered.

    Attributes:
        code: of gRPC.
        message: for a person.
        trailers: for the client.
    """

    code: StatusCode
    message: str
    trailers: tuple[tuple[str, str], ...] = ()


def refusal_of(error: errors.ServiceError) -> Refusal:
    """What a client is told of an error."""
    trailers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, errors.Unavailable):
        trailers = ((PUSHBACK, str(math.ceil(error.retry_after_s * 1000))),)
    return Refusal(CODE_OF[type(error)], bounded(told(error)), trailers)


def internal_refusal(request_id: str) -> Refusal:
    """What a client sees of a fault of ours: the request id, and no detail."""
    return Refusal(StatusCode.INTERNAL, internal_message(request_id))


def number_of(code: StatusCode) -> int:
    """A code as it goes over the wire."""
    number: int = code.value[0]
    return number
