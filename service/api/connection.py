"""One connection: uvicorn's protocol, with a bound on whatever a client can make it hold."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.server import ServerState

from service.api.answering import Answering
from service.api.connections import Connections
from service.api.context import ARRIVED, PROBES_ONLY
from service.api.departure import SOMETHING, watch_for_departure
from service.api.received_bytes import ReceivedBytes
from service.api.refusal import refusal
from service.metrics import CloseReason

LONGEST_PIPELINE = 16  # requests that may wait for an answer before theirs


class _Refused(Exception):
    """Stops the parser; the answer is on its way."""


class Connection(Answering):
    """uvicorn's protocol, bounded.

    - A request's time runs from when its head is complete; its turn on the event loop comes later.
    - Heads are bounded in bytes and time, what is around a body (chunks, trailers) in bytes;
      trailers are dropped. Requests that wait for one another are bounded in number.
    - An offer to speak another protocol is passed over, and the request answered as it stands.
    - A client that has closed its side only is answered; one that has left is noticed.
    - An answer that nobody reads is bounded, too: `Answering` says how.

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
        super().__init__(shared, config, server_state, app_state)
        self.url = b""
        self._received = ReceivedBytes(shared.head_bytes)
        self._is_for_probes = False
        self._is_head_begun = False
        self._is_deaf = False  # what comes is dropped
        self._has_eof = False  # nothing more comes

    # -- the connection

    def enter(self, transport: asyncio.Transport) -> None:
        """Count it in, as soon as it is accepted: a handshake of TLS comes only then."""
        self.transport = transport
        self.connections.add(self)
        self._is_for_probes = self._shared.enter(self)

    def leave_unless_made(self) -> None:
        """Count it out where its handshake has failed."""
        if self.scheme is None:
            self.cancel_timer()
            self._leave()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it in, unless it has been; it has so long to say something."""
        super().connection_made(transport)
        if self.scheme == "http":
            self.enter(transport)
        self.set_timer(self._shared.head_timeout_s, self._on_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out, and let go of everything."""
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        self._shared.leave(self)
        self.connections.discard(self)

    @property
    def is_answered(self) -> bool:
        """Whether no request of it is in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def may_send(self) -> bool:
        """Whether the client may be sending something at this moment."""
        return (self._is_deaf or self._received.is_in_body) and not self._has_eof

    @property
    def _is_v2(self) -> bool:
        """Whether the newest head is of the Open Inference Protocol, as far as it has come."""
        path = self.url.partition(b"?")[0].removeprefix(self._shared.root)
        return path.split(b"/")[1:2] == [b"v2"]

    def begin_linger(self) -> None:
        """Drop what comes from now on."""
        self._is_deaf = True
        super().begin_linger()

    # -- what a client sends

    def data_received(self, data: bytes) -> None:
        """Read on, as far as the bounds allow."""
        if self._is_deaf:
            return
        self._received.begin_read()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not self._is_deaf:
                self._refuse(400, "malformed_request", "this is no request of HTTP/1.1")
            return
        self._received.end_read(len(data))
        if self._received.is_head_too_large:
            self._refuse_long_head()
        elif self._received.is_body_hollow:
            self._refuse(400, "malformed_request", "there is more around the body than in it")
        elif self._is_head_begun and self._timer is None:
            self.set_timer(self._shared.head_timeout_s, self._on_slow_head)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self.parser.feed_data(self._head_without_offer())  # its body is read now
            else:
                return

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._unset_keepalive_if_required()
        self._received.begin_head()
        self._is_head_begun = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._add_to_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that follows a body comes too late to be one, and is dropped."""
        if not self._received.is_in_body:
            self._add_to_head(len(name) + len(value))
            super().on_header(name, value)

    def _add_to_head(self, size_bytes: int) -> None:
        self._received.add_to_head(size_bytes)
        if self._received.is_head_too_large:
            self._refuse_long_head()
            raise _Refused

    def on_headers_complete(self) -> None:
        """Begin a request."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _Refused
            return  # it comes again, without its offer
        if len(self.pipeline) >= LONGEST_PIPELINE:
            self._turn_deaf("pipelined")
            self.cycle.keep_alive = False
            raise _Refused
        self.cancel_timer()
        self._unset_keepalive_if_required()
        self.scope[ARRIVED] = time.monotonic()  # type: ignore[literal-required]
        self.scope[PROBES_ONLY] = self._is_for_probes  # type: ignore[literal-required]
        super().on_headers_complete()
        self.take_over(self.cycle)
        self.cycle.keep_alive = self.cycle.keep_alive and not self._is_for_probes
        self._is_head_begun = False
        self._received.begin_body()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._received.add_to_body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self.parser.should_upgrade():
            return
        self._received.end_body()
        super().on_message_complete()
        if self.cycle.response_complete:  # before its body was
            self.cancel_timer()
            self.keep_alive()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what is complete before the connection is closed; drop what is not."""
        self._has_eof = True
        is_over = self.is_answered or self._is_ended or self._received.is_in_body
        if is_over or self.scheme == "https":
            return False
        self.cancel_timer()
        self._is_deaf = True
        self.cycle.keep_alive = False
        is_alone = not self.pipeline and not self.cycle.response_started
        if is_alone and self.cycle.scope["http_version"] == "1.1":
            self.transport.write(SOMETHING)
            watch_for_departure(self.transport)
        return True

    # -- what it is refused

    def _on_slow_head(self) -> None:
        if self._is_head_begun:
            limit_s = self._shared.head_timeout_s
            message = f"the head has not come within {limit_s:g} s, which is the limit"
            self._refuse(408, "slow_head", message)
        else:
            self.timeout_keep_alive_handler()

    def _refuse_long_head(self) -> None:
        message = f"the head has more than {self._shared.head_bytes} bytes, which is the limit"
        self._refuse(431, "head_too_large", message)

    def _turn_deaf(self, reason: CloseReason) -> None:
        self._is_deaf = True
        self.cancel_timer()
        self.count(reason)

    def _refuse(self, status: int, code: CloseReason, message: str) -> None:
        """Answer what is no request, and close; a request that is being answered comes first."""
        self._turn_deaf(code)
        if self.is_answered:
            is_owed = not self._received.is_in_body  # else its request was answered
        elif not self._received.is_in_body:
            self.cycle.keep_alive = False
            return
        else:  # the rest of a body is not to be had
            is_owed = not (self.pipeline or self._held or self.cycle.response_started)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if is_owed:
            headers = self.server_state.default_headers
            self.transport.write(refusal(status, code, message, headers, is_v2=self._is_v2))
        self.end()

    # -- what it is answered

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one; the rest of an unread body is dropped."""
        super().on_response_complete()
        if self._received.is_in_body and self.cycle.response_complete and not self.is_ending:
            self._unset_keepalive_if_required()
            self.set_timer(self._shared.head_timeout_s, lambda: self.drop("unfinished_body"))
