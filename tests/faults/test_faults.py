"""Whatever breaks inside: one answer for each request, books that balance, health that is true."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults import around_engines as around
from tests.faults import of_engines as engines
from tests.faults.fault import Fault
from tests.running import Running, grey, running, until

pytestmark = pytest.mark.anyio

FAULTS: tuple[type[Fault], ...] = (
    *(engines.EngineRaises, engines.RowOfNan, engines.RowTooFew),
    *(engines.ThreadEnds, engines.DeviceLost, engines.PassHangs),
    *(engines.OutOfMemory, engines.OutOfMemoryAsRuntimeError),
    *(engines.OutOfMainMemory, engines.OutOfPinnedMemory),
    *(around.CacheDiskFull, around.StoreGone, around.DecoderKilled, around.LoopBlocked),
)
RECOVERY_S = 30.0  # decision 5 says some fifteen; a busy machine takes longer


@dataclass(frozen=True, slots=True)
class Books:
    """What a service says of all requests: those that came, those that left, what is inside."""

    received: float
    left: float
    permits: float = 0
    body_bytes: float = 0
    queued: float = 0


async def books_of(service: Running) -> Books:
    """Read them from `/metrics`."""
    text = (await service.client.get("/metrics")).text
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return Books(
        received=sums["sge_requests_received_total"],
        left=sums["sge_requests_total"],
        permits=sums["sge_permits_in_use"],
        body_bytes=sums["sge_body_bytes_in_use"],
        queued=sums["sge_queue_depth"],
    )


async def health_of(service: Running) -> tuple[int, int]:
    """The statuses of `/healthz` and `/readyz`."""
    alive = await service.client.get("/healthz")
    ready = await service.client.get("/readyz")
    return alive.status_code, ready.status_code


def outcome_of(reply: httpx.Response) -> str:
    """What a client is told became of its request."""
    return "ok" if reply.is_success else reply.json()["error"]["code"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_inside_costs_the_requests_that_met_it_and_no_others(
    fault: type[Fault], store: Path, tmp_path: Path
) -> None:
    """Each request has one answer and one outcome, health is true, and the next one is answered."""
    struck = fault(store, tmp_path)
    async with running(*struck.models(), **struck.parts()) as service:
        replies = await struck.strike(service)
        during = await health_of(service)
        struck.mend()
        async with asyncio.timeout(RECOVERY_S):
            await until(service.is_ready)
        after = await service.predict(grey(1))
        books = await books_of(service)
        line, _ = fault.counted
        counted = await service.metric(line)

    assert [outcome_of(reply) for reply in replies] == list(fault.outcomes)
    assert during == (200, fault.readyz)
    assert after.status_code == 200
    assert books == Books(received=len(replies) + 1, left=len(replies) + 1)
    assert (line, counted) == fault.counted


async def test_an_engine_that_is_not_mended_ends_the_service_in_time(
    store: Path, tmp_path: Path
) -> None:
    """It is told that the engine is lost, refuses meanwhile, and its books balance."""
    struck = engines.PassHangs(store, tmp_path)
    async with running(*struck.models(), **struck.parts()) as service:
        hung = await service.predict(grey(engines.POISON))
        async with asyncio.timeout(RECOVERY_S):
            await asyncio.shield(service.lost)
        refused = await service.predict(grey(1))
        health = await health_of(service)
        books = await books_of(service)
        struck.mend()

    assert (outcome_of(hung), outcome_of(refused)) == ("engine_lost", "not_ready")
    assert health == (200, 503)
    assert books == Books(received=2, left=2)
