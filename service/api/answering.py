"""The writing half of a connection: answers that nobody reads are bounded, the end is in order."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Message, Send
from uvicorn import Config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.api.connections import Connections
from service.api.unread_answers import UnreadAnswer
from service.metrics import CloseReason

PIECE_BYTES = 16_384  # of an answer at a time, over TLS


class Answering(HttpToolsProtocol):
    """uvicorn's protocol, whose answers are bounded in time, and over all connections in bytes.

    A client that does not read an answer gets no other. Where a connection is closed while its
    client may be sending, it is closed for writing first, and for reading once the client has
    closed it, or the time of a head later: a connection that is reset would lose its answer.

    Args:
        shared: what all connections share.
        config: as uvicorn gives it, and what follows.
        server_state: of the server.
        app_state: of the application.
    """

    def __init__(
        self,
        shared: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.timeout_keep_alive = shared.keep_alive_s  # type: ignore[assignment]
        self._shared = shared
        self._unread: UnreadAnswer = None  # type: ignore[assignment]
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._timer: asyncio.TimerHandle | None = None  # of what the client is to send next
        self._is_ended = False  # nothing more is written

    @property
    def may_send(self) -> bool:
        """Whether the client may be sending something at this moment."""
        raise NotImplementedError

    @property
    def is_read(self) -> bool:
        """Whether nothing waits for the client to read."""
        return self._unread is None or not self._unread.size_bytes

    @property
    def is_ending(self) -> bool:
        """Whether nothing more can be answered."""
        return self._is_ended or self.transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count every byte that the system does not take at once as unread."""
        super().connection_made(transport)
        self._unread = UnreadAnswer(transport, self._shared.unread, self.drop, self.loop)
        transport.set_write_buffer_limits(high=1, low=0)  # with TLS, 0 would be reached by nothing

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._unread.end()
        self._held = None
        self.cancel_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def take_over(self, cycle: RequestResponseCycle) -> None:
        """Have a request answered here."""
        cycle.transport = cast("asyncio.Transport", _AnswerTransport(self))
        if self.scheme == "https":
            send = cast("Send", cycle.send)
            cycle.send = functools.partial(self._send_in_pieces, send)  # type: ignore[method-assign]

    async def _send_in_pieces(self, send: Send, message: Message) -> None:
        """Give a TLS transport a little at a time: it encrypts, and hides, whatever it is given."""
        body = memoryview(message.get("body", b""))
        while len(body) > PIECE_BYTES:
            piece, body = body[:PIECE_BYTES], body[PIECE_BYTES:]
            self._unread.behind_bytes = len(body)
            await send({**message, "body": bytes(piece), "more_body": True})
        self._unread.behind_bytes = 0
        await send({**message, "body": bytes(body)} if body else message)

    def set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        """Do something soon, unless the client does what it is to do next."""
        self.cancel_timer()
        self._timer = self.loop.call_later(seconds, callback)

    def cancel_timer(self) -> None:
        """Wait for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count(self, reason: CloseReason) -> None:
        """Count that the service closes the connection on its own account."""
        self._shared.count(reason)

    def drop(self, reason: CloseReason) -> None:
        """Close the connection at once, and count it; what was not read is lost."""
        self.count(reason)
        self.transport.abort()

    def end(self) -> None:
        """Close the connection once everything is written."""
        if self.is_ending:
            return
        if self.may_send and self.transport.can_write_eof():
            self.begin_linger()
            return
        self.transport.close()
        if not self.flow.write_paused and self._unread.size_bytes:
            self._unread.watch()

    def begin_linger(self) -> None:
        """Write nothing more, and wait for the client to close its side."""
        self._is_ended = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self.set_timer(self._shared.head_timeout_s, self.transport.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Begin a request once the answer before it was read, else both would be held."""
        if self.flow.write_paused:
            self.flow.pause_reading()
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Note that an answer waits for its client."""
        super().pause_writing()
        self._unread.begin()

    def resume_writing(self) -> None:
        """Note that it has been read, and begin the request that waits for that."""
        super().resume_writing()
        self._unread.end()
        if self._held is not None:
            held, self._held = self._held, None
            super()._start_asgi_task(*held)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        if self._is_ended:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()

    def keep_alive(self) -> None:
        """Wait for another request, but not for ever."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close what has said nothing for too long."""
        if not self.transport.is_closing():
            self.count("idle")
            self.transport.close()


class _AnswerTransport:
    """Where an answer is written to; closing it ends the connection in good order."""

    def __init__(self, connection: Answering) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        if not self._connection.is_ending:
            self._connection.transport.write(data)

    def close(self) -> None:
        self._connection.end()

    def is_closing(self) -> bool:
        return self._connection.is_ending
