"""One call: what its head says, its message, and how it ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from starlette.datastructures import Headers

from service.api.context import REQUEST_ID_HEADER, RequestContext, choose_request_id
from service.api.v2.grpc.places import ReadingPlaces
from service.api.v2.grpc.status import Refusal, number_of
from service.api.v2.grpc.unread import address_of
from service.config import LONGEST_TIMEOUT_MS
from service.errors import BadRequest, BodyTooLarge

if TYPE_CHECKING:
    Wire = grpc.aio.ServicerContext[bytes, bytes]
else:
    Wire = grpc.aio.ServicerContext

CUT_S = 0.05  # within which gRPC itself cuts a call whose message is too large
SHORTEST_MS = 0.001  # 0 would mean that there is no deadline


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        context: its identity and fate.
        wire: gRPC's side of it.
        headers: its metadata, but for what is no ASCII.
        peer: the client, as gRPC calls it.
        limit_ms: from its arrival to its deadline, if it has one.
        is_reading: whether its message is waited for.
    """

    context: RequestContext
    wire: Wire
    headers: Headers
    peer: str
    limit_ms: float | None
    is_reading: bool = False

    @property
    def client(self) -> str:
        """The client's address."""
        return address_of(self.peer)[0] or "unknown"

    @property
    def is_late(self) -> bool:
        """Whether its deadline has come."""
        if self.limit_ms is None:
            return False
        return (time.monotonic() - self.context.began) * 1000 >= self.limit_ms

    async def read(self, places: ReadingPlaces, limit_bytes: int) -> bytes:
        """Read its one message.

        Raises:
            Overloaded: it has to wait too long for its turn.
            SlowBody: it takes too long to come.
            BodyTooLarge: it is larger than it may be.
            BadRequest: there is none.
        """
        self.is_reading = True
        message = await places.read(self.wire.read, self.peer)
        if not isinstance(message, bytes):
            await asyncio.sleep(CUT_S)
            raise BadRequest("the call brought no message")
        self.is_reading = False
        if len(message) > limit_bytes:
            raise BodyTooLarge(f"the message has {len(message)} bytes, the limit is {limit_bytes}")
        return message

    def add_trailer(self, name: str, value: str) -> None:
        """Send something beside the reply."""
        self.wire.set_trailing_metadata((*self.trailers, (name, value)))

    async def refuse(self, refusal: Refusal) -> None:
        """End it without a reply; what has ended by itself is left alone."""
        self.context.status = number_of(refusal.code)
        if self.wire.done():
            return
        trailers = (*self.trailers, *refusal.trailers)
        await self.wire.abort(refusal.code, refusal.message, trailers)

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """What goes with every end of it."""
        return ((REQUEST_ID_HEADER.lower(), self.context.request_id),)


def open_call(wire: Wire) -> Call:
    """Note a call that comes in."""
    began = time.monotonic()
    left_s = wire.time_remaining()
    sent = wire.invocation_metadata() or ()
    # By the protocol metadata is ASCII, or binary; a client may send what it likes.
    texts = [(k, v) for k, v in sent if isinstance(v, str) and v.isascii()]
    headers = Headers(raw=[(k.lower().encode(), v.encode()) for k, v in texts])
    context = RequestContext(choose_request_id(headers.get(REQUEST_ID_HEADER)), began)
    limit_ms = None if left_s is None else min(max(left_s * 1000, SHORTEST_MS), LONGEST_TIMEOUT_MS)
    call = Call(context, wire, headers, wire.peer() or "", limit_ms)
    wire.set_trailing_metadata(call.trailers)
    return call
