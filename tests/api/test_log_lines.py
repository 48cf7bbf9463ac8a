"""Every line of the log that a request causes says which request that was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.config import Settings
from service.engines.base import EngineOutputs
from service.engines.calibration import image_limits
from service.images.contract import InputContract
from service.serving.decode_workers import DecodeHere
from service.tracing.request_trace import MOST_IDS, RequestTrace, ids_of
from tests.fakes import FakeEngine, GatedEngine
from tests.running import PNG, Running, grey, running, until

pytestmark = pytest.mark.anyio

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
log = structlog.stdlib.get_logger(__name__)


class TalkativeDecoder(DecodeHere):
    """Decodes on a worker thread, and says so in the log; fails where a file says so."""

    def __init__(self) -> None:
        super().__init__(image_limits(Settings()))

    def decode(self, file: bytes, contract: InputContract) -> NDArray[np.uint8]:
        """Say it, and decode."""
        log.info("decoding")
        if file == b"fault":
            raise RuntimeError("no use")
        return super().decode(file, contract)


class FaultyEngine(FakeEngine):
    """Fails on 7, gives no number on 8, and similarities that are none on 9."""

    def __init__(self) -> None:
        super().__init__(raises=[7], not_finite=[8])

    def infer(self, batch: tuple[int, ...], extras: frozenset[str]) -> EngineOutputs:
        """Answer."""
        outputs = super().infer(batch, extras)
        flat = np.full((len(batch), 8, 2, 2), np.nan, np.float32)
        return EngineOutputs(outputs.logits, dict.fromkeys(outputs.similarities, flat))


def is_about(line: EventDict, request_id: str) -> bool:
    """Whether a line of the log says that it is about a request."""
    return request_id in (line.get("request_id"), *line.get("request_ids", ()))


Post = Callable[[Running], Any]
WAYS: dict[str, tuple[Sequence[str], Post]] = {
    "answered": (["decoding", "request"], lambda s: s.predict(grey(1), x_request_id="mine")),
    "no picture": (["decoding", "request"], lambda s: s.predict(b"x", x_request_id="mine")),
    "no such path": (["request"], lambda s: s.client.get("/-", headers={"X-Request-Id": "mine"})),
    "the engine fails": (
        ["decoding", "engine failed", "request"],
        lambda s: s.predict(grey(7), x_request_id="mine"),
    ),
    "no number": (
        ["decoding", "engine failed", "request"],
        lambda s: s.predict(grey(8), x_request_id="mine"),
    ),
    "no mask": (
        ["decoding", "engine failed", "request"],
        lambda s: s.predict(grey(9), "masks=last", x_request_id="mine"),
    ),
    "late": (
        ["request"],
        lambda s: s.predict(grey(1), x_request_id="mine", x_request_deadline_ms="0.001"),
    ),
    "the service fails": (
        ["decoding", "request failed", "request"],
        lambda s: s.predict(b"fault", x_request_id="mine"),
    ),
}


@pytest.mark.parametrize(("events", "post"), WAYS.values(), ids=WAYS.keys())
async def test_every_line_of_a_request_has_its_id(events: Sequence[str], post: Post) -> None:
    """Whatever becomes of it, and on whichever thread the line is written."""
    async with running(engine=FaultyEngine(), decoder=TalkativeDecoder()) as service:
        with capture_logs(processors=[merge_contextvars]) as lines:
            await post(service)

    assert [line["event"] for line in lines] == events
    assert [line for line in lines if not is_about(line, "mine")] == []


async def test_a_line_of_a_batch_names_the_requests_that_were_in_it() -> None:
    """None of them as its own: a batch belongs to all."""
    engine = GatedEngine(raises=[2])
    async with running(engine=engine, max_batch=2) as service:
        first = asyncio.ensure_future(service.predict(grey(0)))
        await engine.entered()
        both = [
            asyncio.ensure_future(service.predict(grey(value), x_request_id=f"r{value}"))
            for value in (2, 3)
        ]
        await until(lambda: has_left(service))
        with capture_logs(processors=[merge_contextvars]) as lines:
            engine.open(4)
            await asyncio.gather(first, *both)

    said = [
        (line["event"], sorted(line["request_ids"]), "request_id" in line)
        for line in lines
        if "request_ids" in line
    ]
    assert said == [("batch halved", ["r2", "r3"], False), ("engine failed", ["r2"], False)]


async def has_left(service: Running) -> bool:
    """Whether two batches are on the device's thread or wait for it."""
    return service.runtime.models._device._unfinished == 2


def test_a_line_of_a_large_batch_names_some_of_its_requests() -> None:
    """Each once, and says how many more there were."""
    traces = [RequestTrace(f"r{number // 2}") for number in range(2 * MOST_IDS + 6)]

    assert ids_of(traces) == {
        "request_ids": [f"r{number}" for number in range(MOST_IDS)],
        "more_requests": 3,
    }
    assert ids_of([RequestTrace("")]) == {}


@pytest.mark.parametrize(("header", "said"), [(f"00-{TRACE}-{SPAN}-01", TRACE), ("no trace", None)])
async def test_the_log_names_a_clients_trace_where_none_is_made(
    header: str, said: str | None
) -> None:
    """Whoever traces finds the lines of a service that does not."""
    async with running(engine=FakeEngine()) as service:
        with capture_logs(processors=[merge_contextvars]) as lines:
            await service.client.post(
                "/v1/predict", content=grey(1), headers=PNG | {"traceparent": header}
            )

    assert [line.get("trace_id") for line in lines] == [said]
