"""Where TLS is listened for: a connection counts from when it is accepted, before its handshake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import structlog

from service.api.connection import Connection

MOST_AT_ONCE = 100  # connections accepted in one turn of the event loop
PAUSE_S = 1.0  # where the system gives no descriptor: it would be asked again at once

log = structlog.stdlib.get_logger(__name__)


class TlsListener:
    """Accepts connections, has each counted in, and then speaks TLS with it.

    The event loop's own server tells of a connection only once its handshake is over: until then
    nothing would bound how many there are, and none could be dropped for another.

    Args:
        listener: that is listening; closed with this.
        connect: makes the protocol of a connection.
        context: of each handshake.
        timeout_s: of a handshake, and of a farewell.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[], Connection],
        context: ssl.SSLContext,
        timeout_s: float,
    ) -> None:
        self._listener = listener
        self._connect = connect
        self._context = context
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()

    def listen(self, backlog: int) -> None:
        """Accept from now on."""
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._resume()

    def close(self) -> None:
        """Accept nobody any more; handshakes go on."""
        if self._is_open:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until no handshake is under way."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    @property
    def _is_open(self) -> bool:
        return self._listener.fileno() >= 0

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be accepted", reason=str(error))  # noqa: TRY400
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_S, self._resume)
                return
            self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        connection = self._connect()
        connection.enter(_Accepted(accepted))
        connection.set_timer(self._timeout_s, lambda: connection.drop("slow_handshake"))
        handshake = self._loop.create_task(self._shake_hands(connection, accepted))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: Connection, accepted: socket.socket) -> None:
        """Speak TLS; what fails, as what is dropped meanwhile does, is counted out."""
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=2 * self._timeout_s,  # the connection's own comes first
                ssl_shutdown_timeout=self._timeout_s,
            )
        except OSError as error:  # of TLS, too
            log.debug("a handshake failed", reason=str(error))
        finally:
            connection.leave_unless_made()


class _Accepted(asyncio.Transport):
    """A socket in its handshake: all that can be done with it is to end it.

    The event loop has taken the socket over or is about to, and lets go of it at its end.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__()
        self._accepted = accepted

    def abort(self) -> None:
        """End the handshake."""
        with contextlib.suppress(OSError):
            self._accepted.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the handshake."""
        self.abort()
