"""The outermost layer: request ids, the access log, the count of outcomes, the last resort."""

from __future__ import annotations

import asyncio
import re
import reprlib

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.account import count_prediction, write_access_line
from service.api.context import (
    PROBES_ONLY,
    REQUEST_ID_HEADER,
    Outcome,
    RequestContext,
    open_context,
    path_of,
)
from service.api.errors import error_response, internal_error, service_error_response
from service.api.loop_watch import LoopWatch
from service.api.request_span import begin_span, end_span
from service.errors import TooManyConnections
from service.metrics import Metrics
from service.serving.admission import Admission
from service.tracing.tracer import Tracer

PREDICT_PATH = "/v1/predict"
PREDICTIONS = re.compile(
    rf"{PREDICT_PATH}|/v2/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?/infer"
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # characters that no path of ours holds

PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
# On every answer: a page has what it needs from here, and nobody shows it as a part of theirs.
SECURITY = {
    b"content-security-policy": b"default-src 'self'; base-uri 'self'; form-action 'self'; "
    b"frame-ancestors 'none'; object-src 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}

log = structlog.stdlib.get_logger("access")


class RequestScope:
    """ASGI middleware around everything; writes one access line and one outcome per request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        metrics: Metrics,
        watch: LoopWatch,
        tracer: Tracer,
    ) -> None:
        self._app = app
        self._watch = watch
        self._tracer = tracer
        self._admission = admission
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = open_context(scope)
        is_probe = path_of(scope) in PROBES
        context.trace = begin_span(self._tracer, scope, context, is_wanted=not is_probe)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**context.trace.ids)
        is_post = scope["method"] == "POST"
        prediction = PREDICTIONS.fullmatch(path_of(scope)) if is_post else None
        if prediction:
            self._metrics.received.inc()
        try:
            with self._watch:
                await self._serve(scope, receive, send, context)
        except asyncio.CancelledError:
            context.outcome = Outcome.CANCELLED  # the drain's time is over
            raise
        finally:
            if prediction:
                count_prediction(self._metrics, context)
            self._metrics.count_key_request(context.key, context.outcome)
            client = (scope.get("client") or ("unknown",))[0]
            write_access_line(context, scope["method"], scope["path"], client)
            end_span(self._tracer, scope, context, _route_of(prediction))

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, context: RequestContext
    ) -> None:
        """Run the application, and answer for it where it fails."""

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = context.request_id
                given = {name for name, _ in headers.raw}
                headers.raw.extend(pair for pair in SECURITY.items() if pair[0] not in given)
                if self._admission.is_leaving:
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app_for(scope)(scope, receive, send_with_id)
        except Exception:  # the last resort: whatever went wrong, the client gets an answer
            log.exception("request failed")
            response = internal_error(Request(scope))
            if context.status:
                raise
            await response(scope, receive, send_with_id)

    def _app_for(self, scope: Scope) -> ASGIApp:
        if scope.get(PROBES_ONLY) and path_of(scope) not in PROBES:
            return service_error_response(
                Request(scope), TooManyConnections("every connection but those for probes is taken")
            )
        if _CONTROL.search(path_of(scope)):  # a route would match though a line break follows
            message = f"{scope['method']} {reprlib.repr(path_of(scope))}: no such path"
            return error_response(Request(scope), 404, Outcome.NOT_FOUND, message)
        return self._app


def _route_of(prediction: re.Match[str] | None) -> str:
    """The route of a prediction, by its path; empty for what is none."""
    if prediction is None:
        return ""
    if prediction["name"] is None:
        return PREDICT_PATH
    version = "" if prediction["version"] is None else "/versions/{version}"
    return f"/v2/models/{{name}}{version}/infer"
