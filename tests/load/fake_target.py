"""A service that is one number: seconds an image takes; it keeps the real service's metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import PHASES, Metrics
from tests.load.mix import Kind
from tests.load.sender import Answer, Sent

MODEL = ("fake", "1")


class FakeTarget:
    """Answers one request after the other, each in the same time of the running loop's clock.

    Args:
        image_s: seconds an image takes; its capacity is 1 over that.
        stalled: a stretch of seconds (from, until) in which nothing ends.
        while_sending: the client's own work, done as each request leaves.
        answer: what becomes of every request.
        tier: of its engine.
        counts_double: its metrics count every answer twice.
    """

    def __init__(
        self,
        image_s: float,
        *,
        stalled: tuple[float, float] = (0.0, 0.0),
        while_sending: Callable[[], None] = lambda: None,
        answer: Answer = Answer.OK,
        tier: str = "final",
        counts_double: bool = False,
    ) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.sent: list[Kind] = []
        self._image_s = image_s
        self._stalled = stalled
        self._while_sending = while_sending
        self._answer = answer
        self._tier = tier
        self._counts_double = counts_double
        self._free_at = 0.0

    async def send(self, kind: Kind, deadline_s: float | None = None) -> Sent:
        """Answer when everybody before has been answered."""
        loop = asyncio.get_running_loop()
        left_s = loop.time()
        self._while_sending()
        self.sent.append(kind)
        arrived = loop.time()
        self._free_at = max(self._free_at, arrived) + self._image_s
        if self._stalled[0] <= self._free_at < self._stalled[1]:
            self._free_at = self._stalled[1]
        await asyncio.sleep(self._free_at - arrived)
        for _ in range(1 + self._counts_double):
            self._observe(loop.time() - arrived)
        return Sent(self._answer, left_s)

    def _observe(self, total_s: float) -> None:
        times_s = {"queue": total_s - self._image_s, "infer": self._image_s, "total": total_s}
        for phase in PHASES:
            self.metrics.phase.labels(*MODEL, phase).observe(times_s.get(phase, 0.0))
        self.metrics.requests.labels(*MODEL, "ok").inc()
        self.metrics.images.labels(*MODEL).inc()
        self.metrics.batch_size.labels(*MODEL).observe(1)
        self.metrics.batch_seconds.labels(*MODEL).observe(self._image_s)

    async def read_metrics(self) -> str:
        """Return what Prometheus would get; one and a half cores are in use all the time."""
        used_s = 1.5 * asyncio.get_running_loop().time()
        text = generate_latest(self.metrics.registry).decode()
        return f"{text}# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total {used_s}\n"

    async def describe(self) -> dict[str, Any]:
        """Return the little of a model that the report reads."""
        engine = {"name": "fake", "precision": "fp32", "device": "cpu", "tier": self._tier}
        return {"name": "fake", "version": "1", "engine": engine}


def idle_clock() -> float:
    """Processor seconds of a client that uses a tenth of a core."""
    return 0.1 * asyncio.get_running_loop().time()
