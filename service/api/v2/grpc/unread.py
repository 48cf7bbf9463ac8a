"""Replies that clients do not read: bounded in time, and over all of them in bytes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from service.errors import Overloaded
from service.metrics import CloseReason

DESCRIPTORS = Path("/proc/self/fd")
SLOWEST_BYTES_PER_S = 100_000  # that a client may read of a large reply
TRANSIT_S = 1.0  # within which a reply counts as on its way


@dataclass(frozen=True, slots=True, eq=False)
class _Unread:
    peer: str
    size_bytes: int
    began: float  # by the loop's clock


class UnreadReplies:
    """Replies that are being sent; lives on the event loop.

    gRPC takes a reply whole and tells only when all of it has gone. A server cannot end a call
    whose reply is stuck: what ends is its connection.

    Args:
        limit_bytes: of all of them. Beyond it those go that have waited longest; where none has
            waited longer than a reply is on its way, no further one is taken.
        timeout_s: how long a reply may take, beside what its size takes a slow client.
        hang_up: ends a peer's connection.
        count: is told why a connection was ended.
        transit_s: how long a reply is on its way.
    """

    def __init__(
        self,
        limit_bytes: int,
        timeout_s: float,
        hang_up: Callable[[str], None],
        count: Callable[[CloseReason], None],
        transit_s: float = TRANSIT_S,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._hang_up = hang_up
        self._count = count
        self._transit_s = transit_s
        self._all: dict[_Unread, None] = {}  # the oldest first
        self.size_bytes = 0

    async def send(self, write: Callable[[], Awaitable[None]], peer: str, size_bytes: int) -> None:
        """Wait until a reply has gone; a client that does not read it loses its connection.

        Args:
            write: sends the reply.
            peer: whose it is, as gRPC calls the client.
            size_bytes: of the reply.

        Raises:
            Overloaded: so many replies are on their way that there is no room for it.
        """
        now = asyncio.get_running_loop().time()
        self._make_room(size_bytes, now)
        unread = _Unread(peer, size_bytes, now)
        self._all[unread] = None
        self.size_bytes += size_bytes
        writing = asyncio.ensure_future(write())
        writing.add_done_callback(_see)
        try:
            await self._watch(writing, unread)
        finally:
            self._forget(unread)

    async def _watch(self, writing: asyncio.Future[None], unread: _Unread) -> None:
        patience_s = self._timeout_s + unread.size_bytes / SLOWEST_BYTES_PER_S
        await asyncio.wait({writing}, timeout=patience_s)
        if not writing.done():
            self._drop(unread, "slow_reader")
        await writing

    def _make_room(self, size_bytes: int, now: float) -> None:
        for oldest in list(self._all):
            if self.size_bytes + size_bytes <= self._limit_bytes:
                return
            if now - oldest.began < self._transit_s:
                raise Overloaded(f"replies of {self.size_bytes} bytes are not read yet")
            self._drop(oldest, "unread_answers")
            self._forget(oldest)

    def _drop(self, unread: _Unread, reason: CloseReason) -> None:
        self._count(reason)
        self._hang_up(unread.peer)

    def _forget(self, unread: _Unread) -> None:
        if unread in self._all:
            del self._all[unread]
            self.size_bytes -= unread.size_bytes


def _see(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled():
        writing.exception()  # of a call that was cut before its reply; asyncio would log it


def hang_up(peer: str) -> None:
    """Shut down a client's connection, which is found among the descriptors of this process.

    Args:
        peer: as gRPC calls the client, such as `ipv4:127.0.0.1:40000`.
    """
    wanted = address_of(peer)
    for path in DESCRIPTORS.iterdir() if DESCRIPTORS.exists() else ():
        with contextlib.suppress(OSError), _socket_of(int(path.name)) as connection:
            host, port = connection.getpeername()[:2]
            if (_plain(host), port) == wanted:
                connection.shutdown(socket.SHUT_RDWR)


def _socket_of(descriptor: int) -> socket.socket:
    """A second handle on a socket, which may be closed behind the first one's back."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError("no socket")
    found = socket.socket(fileno=os.dup(descriptor))
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        found.close()
        raise OSError("no connection of the network")
    return found


def address_of(peer: str) -> tuple[str, int]:
    """The host and port in gRPC's name of a client; without any where it gives none."""
    _, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    return _plain(host.strip("[]")), int(port) if port.isdecimal() else 0


def _plain(host: str) -> str:
    """An address in one of its forms: IPv4 may come as IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
