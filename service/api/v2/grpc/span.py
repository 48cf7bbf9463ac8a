"""A call as its span tells it, by OpenTelemetry's conventions for remote procedure calls.

Of what a client sends a span holds the method and the request id: no metadata, no message.
"""

from __future__ import annotations

from grpc import StatusCode

from service.api.request_span import outcome_attributes
from service.api.v2.grpc.call import Call
from service.api.v2.grpc.status import number_of
from service.tracing.request_trace import RequestTrace
from service.tracing.tracer import RequestEnd, RequestHead, Tracer

# By the conventions a server's span is a fault where a call has ended by one of these.
FAULTS = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
NAMES = {number_of(code): code.name for code in StatusCode}
FAULT_NAMES = frozenset(code.name for code in FAULTS)


def begin_span(tracer: Tracer, call: Call, path: str, *, is_wanted: bool) -> RequestTrace:
    """Begin the trace of a call; a span is made of it where one is wanted, as not of probes.

    Args:
        tracer: makes it.
        call: that came in.
        path: of its method, `/package.Service/Method`.
        is_wanted: whether there is to be one.
    """
    if not is_wanted:
        return RequestTrace(call.context.request_id)
    head = RequestHead(
        call.context.request_id,
        path[1:],
        call.context.began,
        call.headers.getlist,
        _attributes_of(path) if tracer.is_on else {},
    )
    return tracer.begin(head)


def end_span(tracer: Tracer, call: Call, path: str) -> None:
    """End the span of a call, if there is one."""
    context = call.context
    if context.trace.is_sampled:
        status = NAMES[context.status]
        told = {"rpc.response.status_code": status, **outcome_attributes(context)}
        fault = status if status in FAULT_NAMES else ""
        tracer.end(context.trace, RequestEnd(path[1:], {**_attributes_of(path), **told}, fault))


def _attributes_of(path: str) -> dict[str, str | int | float]:
    return {"rpc.system.name": "grpc", "rpc.method": path[1:]}
