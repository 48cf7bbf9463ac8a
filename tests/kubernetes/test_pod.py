"""The chart's pod, run by podman from its manifest: as near to a cluster as one machine comes.

`make image-test` runs this on the image that it has built. podman knows no readiness, no preStop
and no sizes of volumes, and asks no probe without systemd.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.docker.test_image import IMAGE, PICTURE, Container, wait_until_ready
from tests.kubernetes.chart import needs_helm, pod_of, rendered
from tests.running import PNG

pytestmark = [
    pytest.mark.docker,
    needs_helm,
    pytest.mark.skipif(
        os.environ.get("ENGINE") != "podman" or shutil.which("podman") is None,
        reason="the image was not built by podman, which alone plays manifests",
    ),
]

POD = "garments"
SERVES = f"{POD}-sge-serve"  # podman's name of the container
CORES = 1  # fewer than the machine has


def podman(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run podman."""
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)


def pod_manifest(port: int) -> dict[str, Any]:
    """The pod that the chart's Deployment would start, with a port of the machine's own."""
    repository, _, tag = IMAGE.rpartition(":")
    image = {"repository": f"localhost/{repository}", "tag": tag}
    resources = {"limits": {"cpu": CORES}, "requests": {"cpu": CORES}}
    values = {"image": image, "resources": resources, "cache": {"warm": True}}
    pod = pod_of(rendered(values))
    (container,) = pod["containers"]
    (http,) = container["ports"]
    http |= {"hostPort": port, "hostIP": "127.0.0.1"}
    pod["restartPolicy"] = "Never"  # with Always podman restarts what is to run once before
    mounts = [mount for each in pod["initContainers"] for mount in each["volumeMounts"]]
    for volume in [*pod["volumes"], *container["volumeMounts"], *mounts]:
        volume["name"] = f"{POD}-{volume['name']}"  # podman's volumes are the whole machine's
    metadata = {"name": POD, "labels": {"app": POD}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The container that serves, once it does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = tmp_path_factory.mktemp("pod") / "pod.yaml"
    file.write_text(yaml.safe_dump(pod_manifest(port)), encoding="utf-8")
    played = podman("kube", "play", file)
    try:
        assert played.returncode == 0, played.stdout + played.stderr
        started = Container(SERVES, f"http://127.0.0.1:{port}")
        wait_until_ready(started)
        yield started
    finally:
        podman("pod", "rm", "--force", "--time", "1", POD)


def test_the_pod_answers_on_what_the_image_holds_compiled(container: Container) -> None:
    """The container before has copied it into the pod's volume, and found nothing to compile."""
    (state,) = httpx.get(f"{container.address}/readyz").json()["models"].values()
    reply = httpx.post(
        f"{container.address}/v1/predict?top_k=1",
        content=PICTURE.read_bytes(),
        headers=PNG,
        timeout=60,
    )

    (result,) = reply.json()["results"]
    assert result["predictions"][0]["label"] == "Ankle boot"
    assert (state["name"], state["tier"]) == ("compiled", "final")


def test_the_pod_has_no_rights_and_writes_to_its_volumes_alone(container: Container) -> None:
    """As the manifest asks: nobody's user, no capability, everything else read-only."""
    script = (
        "for d in / /srv /opt/sge-serve /var/cache/sge-serve /tmp; do touch $d/x && echo $d; done"
    )

    written = container.run("sh", "-c", script).stdout.split()
    status = container.run("cat", "/proc/1/status").stdout

    assert written == ["/var/cache/sge-serve", "/tmp"]  # noqa: S108
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Uid:\t10001" in status


def test_threads_follow_the_pods_limit(container: Container) -> None:
    """The service counts the cores of its control group, as the manifest limits them."""
    script = "from service.cores import core_quota; print(core_quota())"

    counted = container.run("python", "-c", script).stdout.strip()

    assert counted == str(CORES)


def test_the_pods_end_is_an_orderly_one(container: Container) -> None:
    """SIGTERM, and an exit before the grace period is over."""
    stopped = podman("pod", "stop", "--time", "45", POD)

    assert stopped.returncode == 0, stopped.stderr
    assert container.inspect("{{.State.ExitCode}}") == "0"
