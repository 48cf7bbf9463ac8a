"""What a client has sent on a connection, counted: heads, bodies, and what is around those."""

from __future__ import annotations


class ReceivedBytes:
    """Counts, and says when it is too much.

    Bytes that are neither a complete head nor a part of a body are counted as they come: half of
    a head, the marks of chunks, trailers. Nobody else would bound them.

    Args:
        head_limit: bytes of a head.
    """

    def __init__(self, head_limit: int) -> None:
        self.head_limit = head_limit
        self.is_in_body = False
        self._has_advanced = False  # by the newest bytes: a head or a message ended in them
        self._head = 0
        self._body = 0
        self._body_before = 0  # when the newest bytes came
        self._other = 0

    def begin_read(self) -> None:
        """Note that bytes have come and are about to be parsed."""
        self._has_advanced = False
        self._body_before = self._body

    def begin_head(self) -> None:
        """Note a head."""
        self._head = 0

    def add_to_head(self, size: int) -> None:
        """Note a part of a head."""
        self._head += size

    def begin_body(self) -> None:
        """Note that a head is complete."""
        self.is_in_body = self._has_advanced = True
        self._body = 0

    def add_to_body(self, size: int) -> None:
        """Note a part of a body."""
        self._body += size

    def end_body(self) -> None:
        """Note that a message is complete."""
        self.is_in_body = False
        self._has_advanced = True

    def end_read(self, size: int) -> None:
        """Note that so many bytes were parsed."""
        rest = size - (self._body - self._body_before)
        self._other = 0 if self._has_advanced else self._other + rest

    @property
    def is_head_too_large(self) -> bool:
        """Whether a head is, complete or not."""
        unfinished = 0 if self.is_in_body else self._other
        return max(self._head, unfinished) > self.head_limit

    @property
    def is_body_hollow(self) -> bool:
        """Whether there is more around a body than in it, and more than a head may have."""
        return self.is_in_body and self._other > self.head_limit + self._body
