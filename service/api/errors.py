"""Each error's HTTP status: the only place that knows both."""

from __future__ import annotations

import math
import reprlib

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import errors
from service.api.compression import CODINGS
from service.api.context import (
    ERROR_CODE_HEADER,
    REQUEST_ID_HEADER,
    Outcome,
    context_of,
    path_of,
)

CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody receives it, the access log shows it

STATUS_OF: dict[type[errors.ServiceError], int] = {
    errors.BadInput: 400,
    errors.UndecodableImage: 400,
    errors.UnsupportedFormat: 415,
    errors.UnsupportedEncoding: 415,
    errors.ImageTooLarge: 413,
    errors.BodyTooLarge: 413,
    errors.SlowBody: 408,
    errors.BadRequest: 422,
    errors.UnknownModel: 404,
    errors.UnknownHost: 400,
    errors.Unauthorized: 401,
    errors.AdminClosed: 501,
    errors.NotLoaded: 409,
    errors.Unavailable: 503,
    errors.Overloaded: 429,
    errors.OverShare: 429,
    errors.NotReady: 503,
    errors.Draining: 503,
    errors.TooManyConnections: 503,
    errors.DeadlineExceeded: 504,
    errors.EngineFailed: 500,
    errors.EngineLost: 500,
}
ADMISSION_CODES = frozenset(
    error.code
    for error in (
        errors.Overloaded,
        errors.OverShare,
        errors.Draining,
        errors.NotReady,
        errors.TooManyConnections,
    )
)
OF_CHANGES = {errors.AdminClosed, errors.NotLoaded}  # of what is served: no prediction ends so
OUTCOMES = (*Outcome, *sorted({error.code for error in set(STATUS_OF) - OF_CHANGES}))
# After these the rest of a body is not waited for.
LAST_WORDS = (errors.SlowBody, errors.TooManyConnections, errors.Unauthorized)


# What the Open Inference Protocol knows; every other status of a client's fault is its 400.
V2_STATUS = {
    401: 401,
    404: 404,
    405: 405,
    429: 503,
    CLIENT_CLOSED_REQUEST: CLIENT_CLOSED_REQUEST,
    500: 500,
    501: 501,
    503: 503,
    504: 503,
}
KEPT_IN_V2 = {errors.UnsupportedEncoding.code}  # HTTP's own business, not the protocol's
_OUTCOME_OF = {404: Outcome.NOT_FOUND, 405: Outcome.METHOD_NOT_ALLOWED}
LONGEST_MESSAGE = 1000  # characters: whatever a client sent, little of it goes back
MOST_PROBLEMS = 3  # named at once


def is_v2(request: Request) -> bool:
    """Whether a request speaks the Open Inference Protocol, whose errors look different."""
    return path_of(request.scope).split("/")[1:2] == ["v2"]


def error_response(
    request: Request, status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> Response:
    """Build an error's answer, and note its code as the request's outcome."""
    context = context_of(request.scope)
    context.outcome = code
    message = bounded(message)
    body: dict[str, object] = {
        "error": {"code": code, "message": message, "request_id": context.request_id}
    }
    if is_v2(request):
        body = {"error": message}
        status = status if code in KEPT_IN_V2 else V2_STATUS.get(status, 400)
    coded = {ERROR_CODE_HEADER: code, **(headers or {})}
    return Response(orjson.dumps(body), status, coded, media_type="application/json; charset=utf-8")


def internal_error(request: Request) -> Response:
    """What a client sees of a fault of ours: the request id, and no detail."""
    message = internal_message(context_of(request.scope).request_id)
    return error_response(request, 500, Outcome.INTERNAL, message)


def internal_message(request_id: str) -> str:
    """What is said of a fault of ours."""
    return f"the service failed; its log has the cause under {REQUEST_ID_HEADER} {request_id}"


def bounded(message: str) -> str:
    """A message as it is sent."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} ..."


def service_error_response(request: Request, error: errors.ServiceError) -> Response:
    """Build the answer to a request that an error ended."""
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, LAST_WORDS):
        headers["Connection"] = "close"
    if isinstance(error, errors.UnsupportedEncoding):
        headers["Accept-Encoding"] = ", ".join(CODINGS)
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return error_response(request, STATUS_OF[type(error)], error.code, told(error), headers)


def told(error: errors.ServiceError) -> str:
    """What a client is told; of a failure of the model no detail."""
    match error:
        case errors.EngineLost():
            return "the engine crashed with this image in its batch and is being restarted"
        case errors.EngineFailed():
            return "the model failed on this image"
        case _:
            return error.message


def add_error_handlers(app: FastAPI) -> None:
    """Answer every kind of error in the service's own form."""

    @app.exception_handler(errors.ServiceError)
    async def on_service_error(request: Request, error: errors.ServiceError) -> Response:
        return service_error_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        problems = [
            f"{'.'.join(str(step)[:80] for step in detail['loc'][1:])}: {detail['msg'].lower()}, "
            f"not {reprlib.repr(detail['input'])}"
            for detail in error.errors()[:MOST_PROBLEMS]
        ]
        return error_response(request, 422, errors.BadRequest.code, "; ".join(problems))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = _OUTCOME_OF.get(error.status_code, Outcome.HTTP_ERROR)
        message = f"{request.method} {request.url.path[:200]}: {str(error.detail).lower()}"
        headers = dict(error.headers or {})
        return error_response(request, error.status_code, code, message, headers)

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, _: ClientDisconnect) -> Response:
        return error_response(
            request,
            CLIENT_CLOSED_REQUEST,
            Outcome.DISCONNECTED,
            "the client closed the connection",
        )
