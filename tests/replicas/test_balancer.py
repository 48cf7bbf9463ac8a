"""Envoy by the configuration that ships, before replicas that do as they are told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
import yaml
from anyio.from_thread import start_blocking_portal

from tests.replicas.balancer import ROOT, Balancer, balancing, free_ports
from tests.replicas.fake_replicas import (
    HELD,
    LOST,
    LOST_EARLY,
    OK,
    FakeReplicas,
    Reply,
    fake_replicas,
)

NUMBER = 3
KEPT_BYTES = 4 * 2**20
BUSY = 8
V1, V2 = "/v1/predict", "/v2/models/any/infer"


def error(status: int, code: str) -> Reply:
    """An answer of the service that is an error."""
    return Reply(status, {"X-Error-Code": code})


@dataclass(frozen=True, slots=True)
class Scene:
    """An Envoy, its replicas, and a client."""

    balancer: Balancer
    replicas: FakeReplicas
    client: httpx.Client

    def plan(self, *steps: Reply | str) -> None:
        """Say what becomes of the next requests."""
        self.replicas.plan[:] = steps
        self.replicas.seen.clear()

    @property
    def asked(self) -> list[int]:
        """Which replicas saw a request since then."""
        return [seen.replica for seen in self.replicas.seen]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Three replicas, all of them ready."""
    folder = tmp_path_factory.mktemp("envoy")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(fake_replicas(NUMBER)) as replicas,
        balancing(folder, replicas.ports) as balancer,
        httpx.Client(base_url=balancer.address, timeout=60) as client,
    ):
        balancer.await_replicas(NUMBER)
        yield Scene(balancer, replicas, client)


SENT_AGAIN = [
    pytest.param(error(503, "draining"), id="a replica that stops"),
    pytest.param(error(503, "not_ready"), id="a replica that loads"),
    pytest.param(LOST, id="a replica that is lost with it"),
    pytest.param(LOST_EARLY, id="a replica that is lost while it comes"),
]
SENT_ONCE = [
    pytest.param(error(429, "overloaded"), id="a full replica"),
    pytest.param(error(429, "over_share"), id="a client beyond its share"),
    pytest.param(error(500, "engine_lost"), id="an engine that crashed with it"),
    pytest.param(error(500, "engine_failed"), id="a model that fails on it"),
    pytest.param(error(503, "too_many_connections"), id="a flood"),
    pytest.param(error(504, "deadline_exceeded"), id="a deadline"),
    pytest.param(error(503, "deadline_exceeded"), id="a deadline of V2"),
]


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize("step", SENT_AGAIN)
def test_a_request_that_no_replica_has_answered_goes_to_another(
    step: Reply | str, path: str, scene: Scene
) -> None:
    """The client sees the answer of the second, and nothing of the first."""
    scene.plan(step)

    reply = scene.client.post(path, content=b"a picture")

    first, second = scene.asked
    assert (reply.status_code, reply.json()) == (200, {"replica": second})
    assert first != second


@pytest.mark.parametrize("step", SENT_ONCE)
def test_an_answer_that_another_replica_would_give_too_is_passed_on(
    step: Reply, scene: Scene
) -> None:
    """More load helps no full replica, and what crashed one engine would crash the next."""
    scene.plan(step)

    reply = scene.client.post(V1, content=b"a picture")

    assert (reply.status_code, len(scene.asked)) == (step.status, 1)
    assert reply.headers["x-error-code"] == step.headers["X-Error-Code"]


@pytest.mark.parametrize("step", [LOST, LOST_EARLY])
def test_the_largest_body_that_is_kept_is_sent_again(step: str, scene: Scene) -> None:
    """All of it reaches the second replica."""
    scene.plan(step)

    reply = scene.client.post(V1, content=b"x" * KEPT_BYTES)

    assert reply.status_code == 200
    assert len(scene.replicas.seen[1].body) == KEPT_BYTES


def test_a_larger_body_is_passed_on_and_sent_once(scene: Scene) -> None:
    """Whatever its size; where its replica is lost, the client is told."""
    scene.plan(OK, LOST)

    passed = scene.client.post(V1, content=b"x" * 8 * KEPT_BYTES)
    lost = scene.client.post(V1, content=b"x" * (KEPT_BYTES + 1))

    assert [len(seen.body) for seen in scene.replicas.seen] == [8 * KEPT_BYTES, KEPT_BYTES + 1]
    assert (passed.status_code, lost.status_code) == (200, 503)
    assert lost.json()["error"]["code"] == lost.headers["x-error-code"] == "replica_lost"


def test_a_body_of_unknown_length_is_sent_again_once_it_is_there(scene: Scene) -> None:
    """As far as it is no larger than what is kept."""
    scene.plan(LOST)

    reply = scene.client.post(V1, content=iter([b"a ", b"picture"]))

    assert reply.status_code == 200
    assert [seen.body for seen in scene.replicas.seen] == [b"a picture", b"a picture"]


@pytest.mark.parametrize("path", [V1, V2])
def test_the_second_loss_is_the_last(path: str, scene: Scene) -> None:
    """What ends two replicas may end the third: its client gets an error in its protocol's form."""
    scene.plan(LOST, LOST)

    reply = scene.client.post(path, content=b"a picture")

    assert (reply.status_code, len(scene.asked)) == (503, 2)
    assert (reply.headers["retry-after"], reply.headers["x-error-code"]) == ("1", "replica_lost")
    message = "the replica went before it had answered"
    request_id = reply.headers["x-request-id"]
    v1 = {"error": {"code": "replica_lost", "message": message, "request_id": request_id}}
    assert reply.json() == ({"error": message} if path == V2 else v1)


def test_a_replica_learns_who_the_client_is_from_envoy_alone(scene: Scene) -> None:
    """A request keeps its id; its address is the connection's; Envoy's own switches are ignored."""
    scene.plan(LOST)
    sent = {
        "X-Request-Id": "mine",
        "X-Forwarded-For": "192.0.2.1",
        "X-Envoy-Max-Retries": "0",
        "X-Envoy-Upstream-Rq-Timeout-Ms": "1",
    }

    reply = scene.client.post(V1, content=b"a picture", headers=sent)

    (_, seen) = scene.replicas.seen
    assert (reply.status_code, reply.headers["x-request-id"]) == (200, "mine")
    assert (seen.headers["x-request-id"], seen.headers["x-forwarded-for"]) == ("mine", "127.0.0.1")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 404),
        ("POST", "/v2/repository/models/any/load", 501),
        ("POST", "/v2/repository/models/any/unload", 501),
    ],
)
def test_what_concerns_one_replica_alone_reaches_none(
    method: str, path: str, status: int, scene: Scene
) -> None:
    """Chance would say which; a version that is loaded by one of three makes them differ."""
    scene.plan()

    reply = scene.client.request(method, path)

    assert (reply.status_code, scene.asked) == (status, [])
    assert reply.headers["x-error-code"] == "refused_by_balancer"


def test_composes_health_check_tells_an_envoy_that_runs_from_one_that_does_not(
    scene: Scene,
) -> None:
    """It needs nothing but the image's shell."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    (_, *check) = compose["services"]["envoy"]["healthcheck"]["test"]
    (nobody,) = free_ports(1)

    codes = [
        subprocess.run(
            [word.replace("9901", str(port)) for word in check],
            check=False,
            stderr=subprocess.DEVNULL,
        ).returncode
        for port in (scene.balancer.admin, nobody)
    ]

    assert codes == [0, 1]


def test_a_head_beyond_the_limit_is_refused_by_envoy(scene: Scene) -> None:
    """Before a replica sees it, in the service's form."""
    scene.plan()

    reply = scene.client.get("/healthz", headers={"X-Long": "x" * 32_000})

    assert (reply.status_code, reply.json()["error"]["code"]) == (431, "refused_by_balancer")
    assert scene.asked == []


def test_a_replica_that_is_not_ready_gets_nothing(scene: Scene) -> None:
    """From the next look at it on; when none is ready, the client is told at once."""
    scene.plan()
    scene.balancer.await_replicas(NUMBER)  # none is left out because of a test before
    scene.replicas.ready[0] = 503
    scene.balancer.await_replicas(NUMBER - 1)
    some = [scene.client.post(V1, content=b"x").status_code for _ in range(20)]
    asked = set(scene.asked)
    scene.replicas.ready[:] = [503] * NUMBER
    scene.balancer.await_replicas(0)

    none = scene.client.post(V1, content=b"x")

    scene.replicas.ready[:] = [200] * NUMBER
    scene.balancer.await_replicas(NUMBER)
    assert (set(some), asked) == ({200}, {1, 2})
    assert (none.status_code, none.headers["x-error-code"]) == (503, "not_ready")
    assert none.json()["error"]["message"] == "no replica can be reached"


def test_a_replica_that_refuses_at_once_does_not_draw_the_retries(scene: Scene) -> None:
    """It is the least busy of all, since whatever it gets it is rid of."""
    scene.plan()
    scene.replicas.ready[0] = 503
    scene.balancer.await_replicas(NUMBER - 1)
    with ThreadPoolExecutor(BUSY) as busy:
        held = [busy.submit(scene.client.get, HELD) for _ in range(BUSY)]
        while len(scene.asked) < BUSY:
            pass
        scene.replicas.ready[0], scene.replicas.always[0] = 200, error(503, "draining")
        scene.balancer.await_replicas(NUMBER)
        found = [scene.client.post(V1, content=b"x").status_code for _ in range(20)]
        scene.replicas.release()
    scene.replicas.always.clear()

    assert (set(found), 0 in scene.asked) == ({200}, True)
    assert {reply.result().status_code for reply in held} == {200}
