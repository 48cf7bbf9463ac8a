"""A request over HTTP as its span tells it, by OpenTelemetry's conventions for HTTP.

Of what a client sends a span holds the method, the path and the request id: no header, no query, no
name of a file.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from service.api.context import Outcome, RequestContext, shortened
from service.metrics import NO_MODEL
from service.tracing.request_trace import RequestTrace
from service.tracing.tracer import RequestEnd, RequestHead, Tracer

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
OTHER = "_OTHER"  # a client may make up methods, and each would be a name of its own
FAULTS = frozenset({Outcome.INTERNAL, Outcome.CANCELLED})  # where an answer may have begun well


def begin_span(
    tracer: Tracer, scope: Scope, context: RequestContext, *, is_wanted: bool
) -> RequestTrace:
    """Begin the trace of a request; a span is made of it where one is wanted, as not of probes."""
    if not is_wanted:
        return RequestTrace(context.request_id)
    head = RequestHead(
        context.request_id,
        _name_of(scope),
        context.began,
        Headers(scope=scope).getlist,
        _attributes_of(scope) if tracer.is_on else {},
    )
    return tracer.begin(head)


def end_span(tracer: Tracer, scope: Scope, context: RequestContext, route: str) -> None:
    """End the span of a request, if there is one.

    Args:
        tracer: by which it was begun.
        scope: of the request; FastAPI has put the route into it that it found.
        context: what became of it.
        route: of a prediction, which may have been refused before FastAPI looked for one.
    """
    if context.trace.is_sampled:
        found = getattr(scope.get("route"), "path", route)
        name = f"{_name_of(scope)} {found}" if found else _name_of(scope)
        route_told = {"http.route": found} if found else {}
        end = RequestEnd(name, _outcome_of(context) | route_told, _fault_of(context))
        tracer.end(context.trace, end)


def _method_of(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in METHODS else OTHER


def _name_of(scope: Scope) -> str:
    method = _method_of(scope)
    return "HTTP" if method == OTHER else method


def _attributes_of(scope: Scope) -> dict[str, str | int | float]:
    return {
        "http.request.method": _method_of(scope),
        "url.path": shortened(scope["path"]),
        "url.scheme": scope["scheme"],
    }


def _outcome_of(context: RequestContext) -> dict[str, str | int | float]:
    told: dict[str, str | int | float] = {
        "sge.request_id": context.request_id,
        "sge.outcome": str(context.outcome),
    }
    if context.status:
        told["http.response.status_code"] = context.status
    if context.model != NO_MODEL:
        told["sge.model"], told["sge.model.version"] = context.model
    if context.images:
        told["sge.images"] = context.images
    return told


def _fault_of(context: RequestContext) -> str:
    """What an operator is to look at: by the conventions a client's fault is none of the span's."""
    if context.outcome in FAULTS:
        return str(context.outcome)
    if context.status < 500:
        return ""
    return str(context.status if context.outcome == Outcome.OK else context.outcome)
