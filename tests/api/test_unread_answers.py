"""Clients that do not read: each has its time, all together have so many bytes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from service.api.unread_answers import UnreadAnswer, UnreadAnswers
from tests.fakes import FakeTimer

pytestmark = pytest.mark.anyio

TIMEOUT_S = 30.0


class Buffer(asyncio.WriteTransport):
    """A transport whose client reads when the test says so."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def get_write_buffer_size(self) -> int:
        """What was not read yet."""
        return self.size


@dataclass(slots=True)
class Clients:
    """Some clients, and what became of their connections."""

    answers: UnreadAnswers
    timer: FakeTimer = field(default_factory=FakeTimer)
    dropped: list[tuple[Buffer, str]] = field(default_factory=list)

    def answer(self, size: int) -> Buffer:
        """Write an answer that a client is to read."""
        buffer = Buffer(size)
        UnreadAnswer(
            buffer, self.answers, lambda reason: self.dropped.append((buffer, reason)), self.timer
        ).begin()
        return buffer


async def test_a_client_that_reads_slowly_has_all_the_time_it_needs() -> None:
    """It is closed only once it stops."""
    clients = Clients(UnreadAnswers(10**9, TIMEOUT_S))
    buffer = clients.answer(10_000_000)

    for _ in range(100):
        buffer.size -= 50_000
        clients.timer.advance(TIMEOUT_S)
    read_until_then = list(clients.dropped)
    clients.timer.advance(TIMEOUT_S)

    assert (read_until_then, clients.dropped) == ([], [(buffer, "slow_reader")])


async def test_a_client_that_takes_a_byte_now_and_then_reads_nothing() -> None:
    """Else a connection, and what it holds, could be kept for ever."""
    clients = Clients(UnreadAnswers(10**9, TIMEOUT_S))
    buffer = clients.answer(10_000)

    buffer.size -= 10
    clients.timer.advance(TIMEOUT_S)

    assert clients.dropped == [(buffer, "slow_reader")]


async def test_where_too_much_is_unread_who_reads_slowest_goes() -> None:
    """Not who came first, nor who came last."""
    clients = Clients(UnreadAnswers(250, TIMEOUT_S))
    reading, silent = clients.answer(100), clients.answer(100)
    clients.timer.advance(1)
    reading.size = 50

    newest = clients.answer(150)

    assert clients.dropped == [(silent, "unread_answers")]
    assert clients.answers.size_bytes == reading.size + newest.size


async def test_an_answer_alone_may_be_larger_than_the_limit() -> None:
    """It takes the place of all others."""
    clients = Clients(UnreadAnswers(250, TIMEOUT_S))
    first = clients.answer(100)
    clients.answer(1000)

    assert clients.dropped == [(first, "unread_answers")]
