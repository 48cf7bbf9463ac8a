"""The HTTP server, which answers what it has accepted before it stops."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import uvicorn

from service.api.connection import Connection
from service.api.connections import Connections
from service.api.last_resort import LastResort
from service.api.tls import find_certificate
from service.api.tls_listener import TlsListener
from service.serving.admission import Admission
from service.serving.runtime import Runtime

TICK_S = 0.1  # how soon the drain notices its end or a second signal
MOST_TURNS = 1000  # of the event loop, each of which accepts some: clients may go on coming
SILENCE_S = 0.5  # a client that is about to use its connection again has done so by then
LONGEST_SILENCE = 6  # times that; clients that never fall silent are cut off
OVERTIME_S = 1.5  # after the drain's time, for everything else that is to end
AT_ONCE_S = 0.5
LONGEST_FLUSH_S, SHORTEST_FLUSH_S = 3.0, 0.2  # of spans that are not sent yet
ALONE_S = 1.5  # balancers that look at a service do so every second, or are not in a hurry
UNSENT_BYTES = 131_072  # of an answer that the system takes before its client reads

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which on a signal first answers everything that it has accepted.

    Before that it may go on for a while as it was, but not ready, so that balancers turn away.
    Meanwhile nobody new may connect, and requests on connections that are open are refused with
    503 and `Connection: close`, so that nobody is left without an answer. A second signal, or the
    end of the drain's time, cuts what is still inside; the last resort cuts what does not let it.

    Args:
        config: of uvicorn.
        runtime: of the service.
        tls: by which it speaks HTTPS alone; None for HTTP alone.
        last_resort: ends the process where it does not end by itself.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        runtime: Runtime,
        tls: ssl.SSLContext | None,
        last_resort: LastResort,
    ) -> None:
        super().__init__(config)
        self._admission: Admission = runtime.admission
        self._drain_timeout_s = runtime.settings.drain_timeout_s
        self._drain_delay_s = runtime.settings.drain_delay_s
        self._tls = tls
        self._last_resort = last_resort
        self._tracer = runtime.tracer
        self._has_signal = False
        self._drained_by = float("inf")
        self._connections = _connections_of(runtime)
        self.cut_requests = 0
        self._listeners: list[socket.socket] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that ask for the end; one that `nohup` ignores stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        asked = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in asked}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop in good order at the first signal, at once at the second."""
        if sig == signal.SIGHUP:
            _let_go_of_terminal()
        if self._has_signal:
            self.force_exit = True
            self._last_resort.arm(AT_ONCE_S)
        if self._has_signal or not self._drain_delay_s:
            self.end()
        else:
            self._last_resort.arm(self._drain_delay_s + self._drain_timeout_s + OVERTIME_S)
            self._admission.leave()
            self.should_exit = True
        self._has_signal = True

    def end(self) -> None:
        """Drain, then stop."""
        self._last_resort.arm(self._drain_timeout_s + OVERTIME_S)
        self._drained_by = min(self._drained_by, time.monotonic() + self._drain_timeout_s)
        self._admission.drain()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, once the application has started."""
        await super().startup(sockets=[])
        connect = functools.partial(
            Connection, self._connections, self.config, self.server_state, self.lifespan.state
        )
        self._listeners = list(sockets or ())
        self.servers = [await self._listen(listener, connect) for listener in self._listeners]

    async def _listen(
        self, listener: socket.socket, connect: Callable[[], Connection]
    ) -> asyncio.Server:
        # What a client does not read shall wait where it is counted.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if self._tls is None:
            return await asyncio.get_running_loop().create_server(
                connect, sock=listener, backlog=self.config.backlog
            )
        tls = TlsListener(listener, connect, self._tls, self._connections.head_timeout_s)
        tls.listen(self.config.backlog)
        return cast("asyncio.Server", tls)  # which is closed and waited for, no more

    async def main_loop(self) -> None:
        """Run until told to stop, then until nothing is inside."""
        await super().main_loop()
        await self._let_balancers_turn_away()
        self.end()
        await self._accept_who_has_come()
        for listener in self.servers:
            listener.close()
        await self._answer_what_is_inside()
        await self._wait_for_silence()
        self.cut_requests = self._admission.requests
        self.force_exit |= self.cut_requests > 0

    async def _let_balancers_turn_away(self) -> None:
        """Go on for the delay, or until nobody has been connected for a while."""
        now = last_company = time.monotonic()
        ends, seen = now + self._drain_delay_s, self.server_state.total_requests
        while now < min(ends, last_company + ALONE_S):
            if self.force_exit or self._admission.is_draining:
                return
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if self.server_state.connections or self.server_state.total_requests != seen:
                last_company, seen = now, self.server_state.total_requests

    async def _accept_who_has_come(self) -> None:
        """Let those in whose connections stand: they would be reset, and are to get their 503."""
        waiting = [listener.fileno() for listener in self._listeners]
        for _ in range(MOST_TURNS):
            if self.force_exit or not select.select(waiting, [], [], 0)[0]:
                return
            await asyncio.sleep(0)

    @property
    def _left_s(self) -> float:
        return self._drained_by - time.monotonic()

    async def _answer_what_is_inside(self) -> None:
        for _ in range(int(self._drain_timeout_s / TICK_S)):
            if self.force_exit or self._left_s <= 0 or not self._admission.requests:
                return
            await asyncio.sleep(TICK_S)

    async def _wait_for_silence(self) -> None:
        """Closing a connection on which a request is under way would reset it."""
        seen = -1
        for _ in range(LONGEST_SILENCE):
            if self.force_exit or self._left_s <= 0 or not self.server_state.connections:
                return
            if self.server_state.total_requests == seen:
                return
            seen = self.server_state.total_requests
            await asyncio.sleep(SILENCE_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers under way be read for what is left of the drain's time, then stop."""
        self.config.timeout_graceful_shutdown = max(0, int(self._left_s))
        await super().shutdown(sockets)
        await asyncio.to_thread(self._tracer.stop, self._flush_s)

    @property
    def _flush_s(self) -> float:
        """How long a collector of spans may keep the service from its end."""
        left_s = 0.0 if self.force_exit else self._left_s
        return min(LONGEST_FLUSH_S, max(SHORTEST_FLUSH_S, left_s))


def build_server(
    app: Callable[..., Any], runtime: Runtime, last_resort: LastResort | None = None
) -> DrainingServer:
    """Make the server of an ASGI application; its `run` or `serve` is told where to listen.

    Raises:
        BadSetting: no certificate can be read.
    """
    settings = runtime.settings
    certificate = find_certificate(settings, runtime.metrics, time.monotonic)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        http=Connection,
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=settings.drain_timeout_s,
    )
    tls = certificate.context if certificate else None
    return DrainingServer(config, runtime, tls, last_resort or LastResort())


def _connections_of(runtime: Runtime) -> Connections:
    metrics = runtime.metrics
    shared = Connections(
        runtime.settings, lambda reason: metrics.closed_connections.labels(reason).inc()
    )
    metrics.connections.set_function(lambda: shared.open)
    metrics.connections_limit.set(shared.limit)
    metrics.unread_answer_bytes.set_function(lambda: shared.unread.size_bytes)
    metrics.unread_answer_bytes_limit.set(shared.unread.limit_bytes)
    return shared


def _let_go_of_terminal() -> None:
    """Write to nowhere where the terminal is gone: a line that nobody can read is no error."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
