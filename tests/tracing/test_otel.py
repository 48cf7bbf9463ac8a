"""The tracer itself: whatever a client's head says, and whatever the clock does."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor

from service.tracing.otel import OpenTelemetryTracer
from service.tracing.tracer import BatchRun, NullTracer, RequestEnd, RequestHead, Tracer
from tests.tracing.recorded import Recorded, times_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"
BYTES = st.text(st.characters(max_codepoint=255), max_size=60)
NEARLY = st.sampled_from([VALID, f"{VALID}-", f"00-{TRACE}-{SPAN}-0x", "a=1,b=2", "=", "a=%ff;b"])
NS_PER_S = 1_000_000_000


def head_of(values: dict[str, list[str]], began: float = 0.0) -> RequestHead:
    """A request's head with these headers."""
    return RequestHead("mine", "POST", began, lambda name: values.get(name, []))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(
    st.dictionaries(
        st.sampled_from(["traceparent", "tracestate", "baggage"]),
        st.lists(BYTES | NEARLY, max_size=3),
    )
)
@pytest.mark.parametrize("tracer", [NullTracer(), Recorded().tracer], ids=["off", "on"])
def test_no_head_is_too_odd(tracer: Tracer, values: dict[str, list[str]]) -> None:
    """A request is begun, whatever its headers hold."""
    assert tracer.begin(head_of(values)).request_id == "mine"


def test_a_head_that_names_two_traces_names_none() -> None:
    """Nobody knows which of them is meant."""
    trace = Recorded().tracer.begin(head_of({"traceparent": [VALID, VALID]}))

    assert trace.trace_id != TRACE


def test_phases_have_the_moments_that_were_measured() -> None:
    """To the microsecond, and the queue is left for the first batch."""
    recorded, began = Recorded(), time.monotonic() - 10
    trace = recorded.tracer.begin(head_of({}, began))
    trace.enter("body", began)
    trace.enter("decode", began + 1)
    trace.enter("queue", began + 2)
    for started in (3, 5):
        run = BatchRun(("m", "1"), "fake", 8, began + started, began + started + 1)
        recorded.tracer.on_batch(run, [trace])
    trace.enter_answer(began + 7, "final")
    recorded.tracer.end(trace, RequestEnd("POST /", {}))

    (request,) = recorded.requests()
    start, _ = times_of(request)
    seconds = [
        (span.name, *(round((moment - start) / NS_PER_S, 6) for moment in times_of(span)))
        for span in recorded.below(request)
    ]
    assert seconds[:-1] == [
        ("body", 0, 1),
        ("decode", 1, 2),
        ("queue", 2, 3),
        ("batch", 3, 4),
        ("batch", 5, 6),
    ]
    assert seconds[-1][:2] == ("answer", 7)
    lasted = [ended - started for started, ended in map(times_of, recorded.batches())]
    assert lasted == pytest.approx([NS_PER_S, NS_PER_S], abs=1000)


def test_a_batch_that_ends_after_its_request_is_linked_to_it_all_the_same() -> None:
    """The client has left meanwhile."""
    recorded = Recorded()
    trace = recorded.tracer.begin(head_of({}))
    recorded.tracer.end(trace, RequestEnd("POST /", {}))
    recorded.tracer.on_batch(BatchRun(("m", "1"), "fake", 1, 1.0, 2.0), [trace])

    (request,), (batch,) = recorded.requests(), recorded.batches()
    assert [link.context for link in batch.links] == [request.context]


def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    """What cannot be sent in time is lost."""
    is_over = threading.Event()

    class Hanging(SpanProcessor):
        def shutdown(self) -> None:
            is_over.wait()

    tracer = OpenTelemetryTracer([Hanging()], Resource.create(), get_global_textmap())

    tracer.stop(within_s=0.01)

    assert not is_over.is_set()
    is_over.set()
