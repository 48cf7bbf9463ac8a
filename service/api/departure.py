"""Whether a client that sends no more is still there to read.

One that has left says the same as one that has closed its side only, until it is sent something:
then its system answers that nobody is there. Nothing tells a server of that but a look.
"""

from __future__ import annotations

import asyncio
import socket

FIRST_LOOK_S, LAST_LOOK_S = 0.002, 1.0  # a client farther away than that is taken for present
GROWTH = 4  # each look comes so many times later than the one before

SOMETHING = b"HTTP/1.1 100 Continue\r\n\r\n"  # that every client of HTTP/1.1 passes over


def watch_for_departure(transport: asyncio.Transport, wait_s: float = FIRST_LOOK_S) -> None:
    """Close a connection as soon as its client turns out to have left; first send it something."""
    loop = asyncio.get_running_loop()
    peer = transport.get_extra_info("socket")

    def look() -> None:
        if transport.is_closing():
            return
        if peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            transport.abort()
        elif wait_s < LAST_LOOK_S:
            watch_for_departure(transport, wait_s * GROWTH)

    loop.call_later(wait_s, look)
