"""Three real replicas behind Envoy, under load: killed, stopped, and given a new version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.store.write import write_version
from tests.replicas.balancer import Balancer, balancing
from tests.replicas.crowd import Crowd, crowd
from tests.replicas.processes import Replica, replicas
from tests.running import noise, png_of
from tests.store_fixtures import new_tiny_version

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

NUMBER = 3
CLIENTS = 12
REQUESTS = 560  # before, while and after something happens: thrice three times as many are 5,040
FLAGS = ("--threads", "1", "--decode-workers", "1", "--store-poll-s", "0.2")


@dataclass(frozen=True, slots=True)
class Scene:
    """Replicas over one store, and their balancer."""

    store: Path
    replicas: list[Replica]
    balancer: Balancer

    def crowd(self) -> AbstractAsyncContextManager[Crowd]:
        """Clients of the balancer."""
        pictures = [png_of(noise(seed)) for seed in range(8)]
        return crowd(self.balancer.address, CLIENTS, pictures)

    def saved(self) -> float:
        """The requests so far that were answered because they were sent again."""
        return self.balancer.figure("envoy_cluster_upstream_rq_retry_success")

    async def start(self, replica: Replica) -> None:
        """Start a replica again, and wait until the balancer has it back."""
        await asyncio.to_thread(replica.start)
        await asyncio.to_thread(self.balancer.await_replicas, NUMBER)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All of them ready."""
    store, folder = (tmp_path_factory.mktemp(name) for name in ("store", "envoy"))
    write_version(store, new_tiny_version(half_weights=True))
    with (
        replicas(NUMBER, store, FLAGS) as running,
        balancing(folder, [replica.port for replica in running]) as balancer,
    ):
        balancer.await_replicas(NUMBER)
        yield Scene(store, running, balancer)


async def test_a_replica_that_is_killed_under_load_loses_no_request(scene: Scene) -> None:
    """What was inside it is answered by another; it is used again once it is ready."""
    replica = scene.replicas[0]
    before = scene.saved()
    async with scene.crowd() as clients:
        await clients.receive(REQUESTS)
        await asyncio.to_thread(replica.kill)
        await clients.receive(REQUESTS)
        await scene.start(replica)
        await clients.receive(REQUESTS)

    assert set(clients.statuses) == {"200"}
    assert scene.saved() > before


async def test_a_replica_that_is_stopped_under_load_loses_no_request(scene: Scene) -> None:
    """It ends in good order, having answered what it took; what it refuses goes to another."""
    replica = scene.replicas[1]
    async with scene.crowd() as clients:
        await clients.receive(REQUESTS)
        code = await asyncio.to_thread(replica.stop)
        await clients.receive(REQUESTS)
        await scene.start(replica)
        await clients.receive(REQUESTS)

    assert (code, set(clients.statuses)) == (0, {"200"})


async def test_a_version_that_comes_under_load_loses_no_request(scene: Scene) -> None:
    """Every replica finds it in the store they share; meanwhile some answer by the old one."""
    async with scene.crowd() as clients:
        await clients.receive(REQUESTS)
        new = new_tiny_version(version="2", half_weights=True)
        await asyncio.to_thread(write_version, scene.store, new)
        await clients.receive_from("2", REQUESTS)
        await clients.receive(REQUESTS)

    versions = [answer.version for answer in clients.answers]
    assert set(clients.statuses) == {"200"}
    assert (set(versions), set(versions[-REQUESTS:])) == ({"1", "2"}, {"2"})
