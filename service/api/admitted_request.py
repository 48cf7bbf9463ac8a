"""A request that was admitted, whatever protocol it came by: its permit and its deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.api.context import RequestContext
from service.errors import DeadlineExceeded
from service.serving.admission import Permit
from service.serving.runtime import Runtime
from service.serving.served_model import ServedModel
from service.serving.turns import DEFAULT_PRIORITY

# Timers count in milliseconds, and the queue shall be the first to see that a deadline has come:
# it counts the images that expire.
TIMER_SLACK_S = 0.005


@dataclass(slots=True)
class AdmittedRequest:
    """One admitted request.

    Attributes:
        context: the request's identity and fate.
        model: answers it.
        permit: grows with its images and the bytes of its body.
        limit_ms: from its arrival to its deadline.
        priority: its class, 1 the most important.
    """

    context: RequestContext
    model: ServedModel
    permit: Permit
    limit_ms: float
    priority: int
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
        """Take permits for all the images that were found in the request, whose body is whole.

        Raises:
            Overloaded: there are not that many left.
            OverShare: too many of the images inside are the client's.
            DeadlineExceeded: they would not be answered in time.
        """
        self.context.images = images
        self.permit.take(images, self.deadline, self.priority)


def require_admittance(
    runtime: Runtime,
    context: RequestContext,
    model: ServedModel,
    limit_ms: float | None,
    priority: int,
) -> None:
    """Refuse a request that `admit` would refuse at this moment; nothing is taken.

    Args and errors are those of `admit`.
    """
    model.require_ready()
    limit_ms = limit_ms or runtime.settings.default_timeout_ms
    deadline = context.began + limit_ms / 1000
    runtime.admission.require_entry(deadline, model.batcher.share, context.key, priority)


@asynccontextmanager
async def admit(
    runtime: Runtime,
    context: RequestContext,
    model: ServedModel,
    limit_ms: float | None,
    priority: int,
) -> AsyncIterator[AdmittedRequest]:
    """Let a request in until its answer stands.

    Args:
        runtime: of the service.
        context: of the request.
        model: shall answer.
        limit_ms: from the request's arrival to its deadline; none for the service's default.
        priority: its class, 1 the most important; 0 for the default.

    Raises:
        NotReady: no engine would answer.
        Draining, Overloaded, OverShare: the service takes nothing more.
        DeadlineExceeded: the deadline came, or cannot be met.
    """
    model.require_ready()
    limit_ms = limit_ms or runtime.settings.default_timeout_ms
    deadline = context.began + limit_ms / 1000
    priority = priority or DEFAULT_PRIORITY
    share = model.batcher.share
    with runtime.admission.enter(deadline, share, context.key, priority) as permit:
        timer = asyncio.timeout(deadline - time.monotonic() + TIMER_SLACK_S)
        admitted = AdmittedRequest(context, model, permit, limit_ms, priority, timer)
        context.trace.enter("body", context.began)
        try:
            async with timer:
                yield admitted
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {admitted.limit_ms:g} ms") from error
