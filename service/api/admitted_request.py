"""A prediction's stay in the service, whatever protocol it came by.

It holds a permit, has a deadline from end to end, and ends when its client hangs up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.api.context import RequestContext
from service.errors import DeadlineExceeded
from service.serving.admission import Permit
from service.serving.runtime import Runtime
from service.serving.served_model import ServedModel

T = TypeVar("T")

# Timers count in milliseconds, and the queue shall be the first to see that a deadline has come:
# it counts the images that expire.
TIMER_SLACK_S = 0.005


@dataclass(slots=True)
class Visit:
    """One admitted request.

    Attributes:
        context: the request's identity and fate.
        model: answers it.
        permit: grows with its images and the bytes of its body.
        limit_ms: from its arrival to its deadline.
    """

    context: RequestContext
    model: ServedModel
    permit: Permit
    limit_ms: float
    _timer: asyncio.Timeout = field(repr=False)

    @property
    def deadline(self) -> float:
        """The moment of `time.monotonic` after which the answer is of no use."""
        return self.context.began + self.limit_ms / 1000

    def shorten(self, limit_ms: float) -> None:
        """Bring the deadline forward, where the body of the request asks for an earlier one."""
        self.limit_ms = min(self.limit_ms, limit_ms)
        left_s = self.deadline - time.monotonic() + TIMER_SLACK_S
        self._timer.reschedule(asyncio.get_running_loop().time() + left_s)

    def hold(self, images: int) -> None:
        """Take permits for all the images that were found in the request.

        Raises:
            Overloaded: there are not that many left.
        """
        self.context.images = images
        self.permit.grow(images - 1)


@asynccontextmanager
async def admit(
    runtime: Runtime, context: RequestContext, model: ServedModel, limit_ms: float | None
) -> AsyncIterator[Visit]:
    """Let a request in until its answer stands.

    Args:
        runtime: of the service.
        context: of the request.
        model: shall answer.
        limit_ms: from the request's arrival to its deadline; none for the service's default.

    Raises:
        NotReady: no engine would answer.
        Draining, Overloaded: the service takes nothing more.
        DeadlineExceeded: the deadline came, or cannot be met.
    """
    model.require_ready()
    limit_ms = limit_ms or runtime.settings.default_deadline_ms
    deadline = context.began + limit_ms / 1000
    with runtime.admission.enter(deadline, model.batcher.pace_s) as permit:
        timer = asyncio.timeout(deadline - time.monotonic() + TIMER_SLACK_S)
        visit = Visit(context, model, permit, limit_ms, timer)
        try:
            async with timer:
                yield visit
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {visit.limit_ms:g} ms") from error


async def off_the_loop(work: Callable[..., T], *arguments: object) -> T:
    """Do what takes long on a thread; a request that is cancelled stays inside until it ends."""
    running = asyncio.ensure_future(run_in_threadpool(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work; stop it when the client hangs up meanwhile. The body has been read before.

    Raises:
        ClientDisconnect: the client hung up.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def report_phases(
    runtime: Runtime, visit: Visit, phases_s: Mapping[str, float]
) -> dict[str, float]:
    """Count where an answer's time went; returns its phases in ms, with the total so far."""
    for phase, seconds in phases_s.items():
        runtime.metrics.phase.labels(*visit.model.labels, phase).observe(seconds)
    total_s = time.monotonic() - visit.context.began
    return {
        phase: round(seconds * 1000, 3) for phase, seconds in {**phases_s, "total": total_s}.items()
    }


def server_timing(timing_ms: Mapping[str, float]) -> str:
    """The value of the `Server-Timing` header."""
    return ", ".join(f"{phase};dur={ms}" for phase, ms in timing_ms.items())
