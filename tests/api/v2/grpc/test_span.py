"""Calls as spans: the same tree as over HTTP, in the client's trace."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode as SpanStatus
from opentelemetry.trace import format_trace_id

from tests.api.v2.grpc.calling import INFERENCE, connected, pixels
from tests.fakes import FakeEngine
from tests.tracing.recorded import Recorded, context_of

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)
METHOD = f"{INFERENCE}ModelInfer"[1:]


async def test_a_call_goes_on_with_its_clients_trace() -> None:
    """With a span for each phase below its own, and a batch linked to it."""
    recorded = Recorded()
    async with connected(engine=FakeEngine(raises=[66]), tracer=recorded.tracer) as client:
        await client.infer(pixels(1, model_name="tiny"), metadata=PARENT)
        await client.infer(pixels(66, model_name="tiny"))
        await client.call("ServerLive")

    answered, failed = recorded.requests()
    batches = [link.context.span_id for batch in recorded.batches() for link in batch.links]
    assert next(recorded.tree()) == (METHOD, ["body", "queue", "batch", "answer"])
    assert format_trace_id(context_of(answered).trace_id) == TRACE
    assert batches[0] == context_of(answered).span_id
    told = [dict(span.attributes or {}) for span in (answered, failed)]
    assert [one["rpc.response.status_code"] for one in told] == ["OK", "INTERNAL"]
    assert told[0]["rpc.method"] == METHOD
    assert told[0]["sge.model"] == "tiny"
    assert [span.status.status_code for span in (answered, failed)] == [
        SpanStatus.UNSET,
        SpanStatus.ERROR,
    ]


async def test_a_priority_is_read_from_a_call() -> None:
    """One that there is not is refused."""
    async with connected(engine=FakeEngine()) as client:
        message = pixels(1, model_name="tiny")
        message.parameters["priority"].uint64_param = 9
        refused = await client.infer(message)
        message.parameters["priority"].uint64_param = 1
        answered = await client.infer(message)

    assert refused.details == "priority is 9, there are 1 (first) to 3 (last)"
    assert answered.details == ""
