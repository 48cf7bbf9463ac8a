"""Replies that nobody reads."""

from __future__ import annotations

import asyncio
import socket

import pytest

from service.api.v2.grpc.unread import UnreadReplies, address_of, hang_up
from service.errors import Overloaded

pytestmark = pytest.mark.anyio


class Peers:
    """Clients by name, whose connections end when they are hung up on."""

    def __init__(self) -> None:
        self.writes: dict[str, asyncio.Future[None]] = {}
        self.reasons: list[str] = []

    def begin(self, unread: UnreadReplies, name: str, size_bytes: int) -> asyncio.Future[None]:
        """Send a reply that is not read."""
        self.writes[name] = asyncio.get_running_loop().create_future()
        return asyncio.ensure_future(unread.send(lambda: self.writes[name], name, size_bytes))

    def hang_up(self, name: str) -> None:
        """End a connection."""
        self.writes[name].set_exception(ConnectionResetError(name))


async def test_replies_count_until_they_have_gone() -> None:
    """By their bytes."""
    peers = Peers()
    unread = UnreadReplies(100, 300, peers.hang_up, peers.reasons.append)
    sending = peers.begin(unread, "a", 60)
    await asyncio.sleep(0)
    before = unread.size_bytes
    peers.writes["a"].set_result(None)
    await sending

    assert (before, unread.size_bytes, peers.reasons) == (60, 0, [])


async def test_beyond_the_limit_the_oldest_goes() -> None:
    """However many come, no more is held."""
    peers = Peers()
    unread = UnreadReplies(100, 300, peers.hang_up, peers.reasons.append, transit_s=0)
    sending = [peers.begin(unread, name, 45) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    held = unread.size_bytes
    for name in ("b", "c"):
        peers.writes[name].set_result(None)
    ended = await asyncio.gather(*sending, return_exceptions=True)

    assert (held, unread.size_bytes) == (90, 0)
    assert peers.reasons == ["unread_answers"]
    assert [type(error) for error in ended] == [ConnectionResetError, type(None), type(None)]


async def test_replies_that_are_on_their_way_are_left_alone() -> None:
    """Beyond the limit no further one is taken."""
    peers = Peers()
    unread = UnreadReplies(100, 300, peers.hang_up, peers.reasons.append, transit_s=300)
    sending = peers.begin(unread, "a", 60)
    await asyncio.sleep(0)

    with pytest.raises(Overloaded, match="replies of 60 bytes are not read yet"):
        await peers.begin(unread, "b", 60)

    peers.writes["a"].set_result(None)
    await sending
    assert (unread.size_bytes, peers.reasons) == (0, [])


async def test_a_client_that_does_not_read_loses_its_connection() -> None:
    """After its time."""
    peers = Peers()
    unread = UnreadReplies(100, 0, peers.hang_up, peers.reasons.append)

    with pytest.raises(ConnectionResetError):
        await peers.begin(unread, "a", 60)

    assert (peers.reasons, unread.size_bytes) == (["slow_reader"], 0)


def test_a_connection_is_found_by_its_clients_address() -> None:
    """And no other one of the same host is touched."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        socket.create_connection(listener.getsockname()) as other,
    ):
        (host, port), at = client.getsockname(), listener.accept()[0]
        with at, listener.accept()[0] as others:
            hang_up(f"ipv4:{host}:{port}")
            others.send(b"still there")

            assert client.recv(1) == b""
            assert other.recv(64) == b"still there"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:40000", ("127.0.0.1", 40000)),
        ("ipv6:%5B::1%5D:40000", ("::1", 40000)),
        ("ipv6:[::ffff:10.0.0.1]:80", ("10.0.0.1", 80)),
        ("unix:", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_addresses_are_read_in_each_of_their_forms(peer: str, address: tuple[str, int]) -> None:
    """As gRPC writes them."""
    assert address_of(peer) == address
