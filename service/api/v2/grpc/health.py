"""The health service of gRPC (grpc.health.v1), which Kubernetes and balancers ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from service.api.health import is_answering, readiness
from service.api.v2.grpc.call import Call
from service.api.v2.grpc.cut import parse_message
from service.api.v2.grpc.methods import Method
from service.api.v2.grpc.places import ReadingPlaces
from service.api.v2.grpc.questions import QUESTION_BYTES
from service.api.v2.views import find_view
from service.errors import Overloaded, UnknownModel
from service.serving.runtime import Runtime

LOOK_EVERY_S = 1.0
WATCHES_OF_A_CONNECTION = 8

SERVING: int = HealthCheckResponse.SERVING
NOT_SERVING: int = HealthCheckResponse.NOT_SERVING
UNKNOWN: int = HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """Says of the service, and of each model by each of its names, whether it can answer.

    Lives on the event loop.

    Args:
        runtime: of the service.
        places: of messages that come in.
        whole: names of the service as a whole.
        stopping: set once watchers are to be let go.
        look_every_s: how soon watchers hear of a change. Nobody looks while nobody watches.
    """

    def __init__(
        self,
        runtime: Runtime,
        places: ReadingPlaces,
        whole: frozenset[str],
        stopping: asyncio.Event,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._runtime = runtime
        self._places = places
        self._whole = whole
        self._stopping = stopping
        self._look_every_s = look_every_s
        self._watchers: Counter[str] = Counter()  # by connection

    def methods(self) -> dict[str, Method]:
        """The methods by name."""
        return {
            "Check": Method(self._check, "open"),
            "Watch": Method(self._watch, "open", is_brief=False),
        }

    async def _check(self, call: Call) -> bytes:
        """Answer once.

        Raises:
            UnknownModel: it is asked of what is not there.
        """
        return _written(self._state_of(await self._read(call)))

    async def _watch(self, call: Call) -> None:
        """Tell how it stands, and again whenever that changes, until the client has enough.

        Raises:
            Overloaded: too many watch already.
        """
        self._require_room(call.peer)
        self._watchers[call.peer] += 1
        try:
            await self._tell(call, await self._read(call))
        finally:
            self._watchers[call.peer] -= 1
            self._watchers += Counter()  # forgets those of whom none is left

    def _require_room(self, peer: str) -> None:
        if self._watchers.total() >= self._runtime.settings.probe_connections:
            raise Overloaded(f"{self._watchers.total()} calls watch, which is the limit")
        if self._watchers[peer] >= WATCHES_OF_A_CONNECTION:
            raise Overloaded(f"a connection may have {WATCHES_OF_A_CONNECTION} calls that watch")

    async def _tell(self, call: Call, name: str) -> None:
        told: int | None = None
        while not self._stopping.is_set():
            state = self._present_state_of(name)
            if state != told:
                await call.wire.write(_written(state))
                told = state
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._look_every_s)

    async def _read(self, call: Call) -> str:
        message = await call.read(self._places, QUESTION_BYTES)
        return str(parse_message(HealthCheckRequest, message).service)

    def _present_state_of(self, name: str) -> int:
        try:
            return self._state_of(name)
        except UnknownModel:  # it may be loaded later
            return UNKNOWN

    def _state_of(self, name: str) -> int:
        models, admission = self._runtime.models, self._runtime.admission
        if name in self._whole:
            is_serving = readiness(models, admission)["ready"]
        else:
            is_serving = is_answering(find_view(models, name, None).model, admission)
        return SERVING if is_serving else NOT_SERVING


def _written(state: int) -> bytes:
    return bytes(HealthCheckResponse(status=state).SerializeToString())
