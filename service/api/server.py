"""The HTTP server, which answers what it has accepted before it stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.context import ARRIVED
from service.serving.admission import Admission
from service.serving.runtime import Runtime

TICK_S = 0.1  # how soon the drain notices its end or a second signal
SILENCE_S = 0.5  # a client that is about to use its connection again has done so by then
LONGEST_SILENCE = 6  # times that; clients that never fall silent are cut off
KEEP_ALIVE_S = 75  # longer than the 60 s of common load balancers, so that they close first


class StampingProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a request's time runs from when its head is complete.

    Its turn on the event loop comes later, the more so the more there is to do.
    """

    def on_headers_complete(self) -> None:
        """Note the moment in the request's scope."""
        self.scope[ARRIVED] = time.monotonic()  # type: ignore[literal-required]
        super().on_headers_complete()


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which on a signal first answers everything that it has accepted.

    Meanwhile nobody new may connect, and requests on connections that are open are refused with
    503 and `Connection: close`, so that nobody is left without an answer. A second signal, or the
    end of the drain's time, cuts what is still inside.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission) -> None:
        super().__init__(config)
        self._admission = admission
        self.cut_images = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Drain at the first signal, leave at once at the second."""
        if self.should_exit:
            self.force_exit = True
        self.end()

    def end(self) -> None:
        """Drain, then stop."""
        self._admission.drain()
        self.should_exit = True

    async def main_loop(self) -> None:
        """Run until told to stop, then until nothing is inside."""
        await super().main_loop()
        for listener in self.servers:
            listener.close()
        await self._answer_what_is_inside()
        await self._wait_for_silence()
        self.cut_images = self._admission.in_use
        self.force_exit |= self.cut_images > 0

    async def _answer_what_is_inside(self) -> None:
        ticks = int((self.config.timeout_graceful_shutdown or 0) / TICK_S)
        for _ in range(ticks):
            if self.force_exit or not self._admission.in_use:
                return
            await asyncio.sleep(TICK_S)

    async def _wait_for_silence(self) -> None:
        """Closing a connection on which a request is under way would reset it."""
        seen = -1
        for _ in range(LONGEST_SILENCE):
            if self.force_exit or not self.server_state.connections:
                return
            if self.server_state.total_requests == seen:
                return
            seen = self.server_state.total_requests
            await asyncio.sleep(SILENCE_S)


def build_server(app: Callable[..., Any], runtime: Runtime) -> DrainingServer:
    """Make the server of an ASGI application; its `run` or `serve` is told where to listen."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        http=StampingProtocol,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=runtime.settings.drain_timeout_s,
    )
    return DrainingServer(config, runtime.admission)
