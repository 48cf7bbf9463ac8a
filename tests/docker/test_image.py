"""A built image as users run it: hardened, asked for masks, stopped under load.

`make image-test` builds the image and runs this; `IMAGE` names it and `ENGINE` is docker or podman.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.running import PNG

pytestmark = pytest.mark.docker

ENGINE = os.environ.get("ENGINE", "docker")
IMAGE = os.environ.get("IMAGE", "sge-serve:cpu")
PICTURE = Path(__file__).parents[1] / "data" / "ankle-boot-on-canvas.png"
CLIENTS = 16

# What docker-compose.yml asks for; without systemd nobody but this test runs podman's health check.
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp:exec,size=1g,mode=1777"),  # noqa: S108
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--memory", "4g", "--pids-limit", "512"),
)

# Largest sizes by the torch inside; CUDA's libraries are 3.4 GB of the second.
BUDGET_GB = {"cpu": 2.0, "cuda": 6.5}

READY_WITHIN_S = 120
SETTLED_WITHIN_S = 300
LOOK_EVERY_S = 0.25
STOP_GRACE_S = 45


def engine(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run docker or podman."""
    return subprocess.run(
        [ENGINE, *arguments], capture_output=True, text=True, check=check, timeout=300
    )


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs the service, and where it answers."""

    name: str
    address: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the container's own user."""
        return engine("exec", self.name, *command, check=False)

    def inspect(self, template: str) -> str:
        """One fact about the container."""
        return engine("inspect", "--format", template, self.name).stdout.strip()

    @property
    def logs(self) -> str:
        """Everything that it printed."""
        done = engine("logs", self.name)
        return done.stdout + done.stderr


def start(*options: str) -> Container:
    """Start a hardened container of the image on a free port of loopback."""
    started = engine("run", "--detach", "--publish", "127.0.0.1::8000", *HARDENED, *options, IMAGE)
    name = started.stdout.strip()
    port = engine("port", name, "8000/tcp").stdout.split()[0].rpartition(":")[2]
    return Container(name, f"http://127.0.0.1:{port}")


def looks(within_s: float) -> Iterator[None]:
    """Paces a loop that looks at something outside this process, until its time is over."""
    pace, end = threading.Event(), time.monotonic() + within_s
    while time.monotonic() < end:
        yield
        pace.wait(LOOK_EVERY_S)


def wait_until_ready(container: Container) -> None:
    """Ask `/readyz` until it says yes."""
    for _ in looks(READY_WITHIN_S):
        try:
            if httpx.get(f"{container.address}/readyz").is_success:
                return
        except httpx.TransportError:
            assert container.inspect("{{.State.Running}}") == "true", container.logs
    pytest.fail(f"not ready within {READY_WITHIN_S} s: {container.logs}")


def settled_engine(container: Container) -> dict[str, str]:
    """The engine that serves in the end, once nothing is being compiled any more."""
    for _ in looks(SETTLED_WITHIN_S):
        models = httpx.get(f"{container.address}/readyz").json()["models"]
        (state,) = models.values()
        if state["tier"] != "first":
            return dict(state)
    pytest.fail(f"still compiling after {SETTLED_WITHIN_S} s: {container.logs}")


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    """One hardened container for the tests that leave it as it was."""
    started = start()
    try:
        wait_until_ready(started)
        yield started
    finally:
        engine("rm", "--force", "--volumes", started.name)


def test_it_runs_without_rights(container: Container) -> None:
    """The service is nobody on the host: no root, no capability, no way to gain one."""
    status = container.run("cat", "/proc/1/status").stdout

    facts = dict(re.findall(r"^(Uid|CapEff|CapBnd|NoNewPrivs):\s+(\w+)", status, re.MULTILINE))
    assert facts == {"Uid": "10001", "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}


def test_it_writes_nowhere_but_into_its_cache_and_tmp(container: Container) -> None:
    """The root file system is read-only; what is compiled lies in the volume."""
    script = (
        "for d in / /srv /opt/sge-serve /var/cache/sge-serve /tmp; do touch $d/x && echo $d; done"
    )

    written = container.run("sh", "-c", script).stdout.split()

    assert written == ["/var/cache/sge-serve", "/tmp"]  # noqa: S108


def test_the_health_check_of_the_image_passes(container: Container) -> None:
    """What the engine runs every few seconds says that the service is well."""
    kind, *command = json.loads(container.inspect("{{json .Config.Healthcheck}}"))["Test"]

    assert kind == "CMD"
    assert container.run(*command).returncode == 0
    assert container.run("sge-health", "/readyz").returncode == 0
    assert container.run("sge-health", "/no-such-path").returncode == 1


def test_a_picture_is_classified_and_its_masks_come_along(container: Container) -> None:
    """The model that ships tells a boot and shows where it looked."""
    reply = httpx.post(
        f"{container.address}/v1/predict?top_k=1&masks=all&groups=mean",
        content=PICTURE.read_bytes(),
        headers=PNG,
        timeout=60,
    )

    (result,) = reply.json()["results"]
    assert reply.status_code == 200
    assert result["predictions"][0]["label"] == "Ankle boot"
    assert [mask["block"] for mask in result["masks"]][-1] == "layer4.1"
    assert all(len(mask["data"][0]) == mask["height"] for mask in result["masks"])


def test_the_compiled_engine_takes_over(container: Container) -> None:
    """With all that is read-only or not executable, compiled code can still be loaded."""
    state = settled_engine(container)

    assert (state["tier"], state["name"]) == ("final", "compiled")
    assert state["fallback_reason"] is None


def test_a_cache_that_can_only_be_read_serves() -> None:
    """As pods share one: what another container has left is loaded, and nothing is written."""
    volume = "sge-serve-read-only-cache"
    place = "/var/cache/sge-serve"
    engine("run", "--rm", "--volume", f"{volume}:{place}", "--entrypoint", "true", IMAGE)
    container = start("--volume", f"{volume}:{place}:ro")
    try:
        wait_until_ready(container)
        state = settled_engine(container)
        written = container.run("touch", f"{place}/x")
    finally:
        engine("rm", "--force", container.name)
        engine("volume", "rm", volume)

    assert (state["tier"], state["name"]) == ("final", "compiled")
    assert "Read-only file system" in written.stderr


def test_the_command_line_works_in_it() -> None:
    """`docker run IMAGE check` says what would be served."""
    checked = engine("run", "--rm", *HARDENED, IMAGE, "check")

    assert "fashion-mnist" in checked.stdout


def test_a_stop_under_load_answers_every_request() -> None:
    """After SIGTERM each open connection gets its answer, 200 or 503, and an end; exit code 0."""
    container = start()
    wait_until_ready(container)
    picture = PICTURE.read_bytes()
    outcomes: Counter[int] = Counter()
    lock, answered = threading.Lock(), threading.Barrier(CLIENTS + 1, timeout=120)

    def post(client: httpx.Client) -> bool:
        """Post a picture; whether the answer says that it is the connection's last."""
        reply = client.post("/v1/predict?masks=last", content=picture, headers=PNG)
        with lock:
            outcomes[reply.status_code] += 1
        return bool(reply.headers.get("connection") == "close")

    def post_until_told_to_leave() -> None:
        with httpx.Client(base_url=container.address, timeout=60) as client:
            post(client)
            answered.wait()  # from here on every connection is open
            while not post(client):
                pass

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(post_until_told_to_leave) for _ in range(CLIENTS)]
        answered.wait()
        engine("stop", "-t", str(STOP_GRACE_S), container.name)
        for client in clients:
            client.result()
    code = container.inspect("{{.State.ExitCode}}")
    engine("rm", "--force", "--volumes", container.name)

    assert code == "0"
    assert set(outcomes) <= {200, 503}
    assert outcomes[200] >= CLIENTS


def test_the_image_is_within_its_budget(container: Container) -> None:
    """A careless layer shows here, not in a registry's bill."""
    size_gb = int(engine("image", "inspect", "--format", "{{.Size}}", IMAGE).stdout) / 1e9
    found = container.run("sh", "-c", "ls -d /opt/sge-serve/lib/python3*/site-packages/nvidia")
    torch = "cpu" if found.returncode else "cuda"

    assert size_gb < BUDGET_GB[torch]


def test_no_tool_and_no_setting_of_the_build_stays() -> None:
    """No pip, no index, no proxy, no lists of packages, no address outside Debian's own."""
    script = r"""
        ls -d /build /etc/pip.conf /opt/pip /root/.c* /tree /var/lib/apt/lists/* 2>/dev/null
        ls /opt/sge-serve/bin | grep pip
        find /opt/sge-serve -name direct_url.json
        env | grep -iE '^(pip_|.*proxy=|.*index)'
        grep -rhoE 'https?://[^/ ]+' /etc/apt | grep -vE '//[a-z.]*debian\.org$'
    """
    found = engine("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", script, check=False).stdout
    history = engine("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).stdout
    config = engine("image", "inspect", "--format", "{{json .Config}}", IMAGE).stdout

    assert found.split() == []
    assert re.findall(r"https?://\S+", history + config) == []
    assert {"pip.conf", "index"} & set(re.findall(r"[\w.]+", config)) == set()


def test_the_image_says_what_it_is() -> None:
    """Labels, the stop signal and the user are set for whoever runs it."""
    config = json.loads(engine("image", "inspect", IMAGE).stdout)[0]["Config"]

    names = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert {"title", "description", "licenses", "revision"} <= names
    assert (config["StopSignal"], config["User"]) in {
        ("SIGTERM", "10001:10001"),
        ("15", "10001:10001"),
    }
