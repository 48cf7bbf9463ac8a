"""`docker compose up` as the README has it: the built image, configured by the shipped file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docker.test_compose import COMPOSE, ROOT, needs_compose
from tests.docker.test_image import ENGINE, IMAGE, PICTURE, READY_WITHIN_S, looks
from tests.running import PNG

pytestmark = [
    pytest.mark.docker,
    needs_compose,
    pytest.mark.skipif(not IMAGE.endswith(":cpu"), reason="compose's profile cpu runs that image"),
]

LISTENS_WITHIN_S = 60


@pytest.fixture(scope="module")
def engine_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables by which compose finds the engine; podman listens on a socket meanwhile."""
    if ENGINE != "podman":
        yield {}
        return
    path = tmp_path_factory.mktemp("podman") / "socket"
    address = f"unix://{path}"
    with subprocess.Popen(["podman", "system", "service", "--time", "0", address]) as listening:
        try:
            wait_until_listening(path, listening)
            yield {"DOCKER_HOST": address}
        finally:
            listening.terminate()


def wait_until_listening(path: Path, listening: subprocess.Popen[bytes]) -> None:
    """Knock at a Unix socket until its process answers."""
    for _ in looks(LISTENS_WITHIN_S):
        assert listening.poll() is None, f"podman's service ended with {listening.returncode}"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            return
    pytest.fail(f"podman does not listen after {LISTENS_WITHIN_S} s")


def free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(address: str) -> None:
    """Ask until the service says that every model answers."""
    for _ in looks(READY_WITHIN_S):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/readyz").is_success:
                return
    pytest.fail(f"not ready within {READY_WITHIN_S} s")


def test_compose_brings_the_service_up_and_down(
    engine_address: dict[str, str], tmp_path: Path
) -> None:
    """It answers with masks on the port that was asked for, and leaves with exit code 0."""
    port = free_port()
    environment = os.environ | engine_address
    environment |= {"IMAGE": IMAGE.rpartition(":")[0], "SERVE_PORT": str(port)}
    environment |= {"COMPOSE_PROJECT_NAME": f"test-{tmp_path.name.replace('_', '-')[:40]}"}

    def compose(*words: str) -> str:
        command = [*(COMPOSE or []), "--profile", "cpu", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        compose("up", "--detach", "--no-build")
        wait_until_ready(f"http://127.0.0.1:{port}")
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/predict?top_k=1&masks=last&groups=mean",
            content=PICTURE.read_bytes(),
            headers=PNG,
            timeout=60,
        )
        compose("stop")
        stopped = json.loads(compose("ps", "--all", "--format", "json").splitlines()[0])
    finally:
        compose("down", "--volumes")

    (result,) = answer.json()["results"]
    assert result["predictions"][0]["label"] == "Ankle boot"
    assert [mask["block"] for mask in result["masks"]] == ["layer4.1"]
    assert (stopped["State"], stopped["ExitCode"]) == ("exited", 0)
