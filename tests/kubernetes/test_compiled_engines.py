"""Where the chart keeps compiled engines, and what fills it ahead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from service.commands.compile import EXIT_BROKEN_VERSION
from tests.kubernetes.chart import (
    containers_of,
    manifests_of,
    needs_helm,
    of_kind,
    pod_of,
    pods_of,
    variables_of,
)

pytestmark = needs_helm


def test_what_is_kept_fits_into_its_volume_while_more_is_built() -> None:
    """A pod that fills its volume is evicted: what is kept takes half of it at most."""
    pod = pod_of(manifests_of("as it comes"))
    (cache,) = [volume for volume in pod["volumes"] if volume["name"] == "cache"]
    (container,) = pod["containers"]

    kept_bytes = int(variables_of(container)["SGE_CACHE_LIMIT_MB"]) * 1_000_000

    assert cache["emptyDir"]["sizeLimit"] == "4Gi"
    assert kept_bytes <= 4 * 2**30 / 2


def test_a_shared_cache_is_filled_for_each_kind_of_node_and_then_only_read() -> None:
    """A job for each selector, before the pods; a pod that serves cannot change what others run."""
    manifests = manifests_of("shared cache")
    pod = pod_of(manifests)
    jobs = [job["spec"]["template"]["spec"] for job in of_kind(manifests, "Job")]

    (served,) = [
        mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "cache"
    ]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "cache"]

    assert served["readOnly"] is True
    assert volume["persistentVolumeClaim"] == {"claimName": "engines", "readOnly": True}
    assert [job["nodeSelector"] for job in jobs] == [
        {"pool": "serving", "cpu": "with-amx"},
        {"pool": "serving", "cpu": "without"},
    ]
    assert [variables_of(job["containers"][0]) for job in jobs] == [
        variables_of(pod["containers"][0])
    ] * 2
    assert [job["spec"]["activeDeadlineSeconds"] for job in of_kind(manifests, "Job")] == [1800] * 2
    assert list(of_kind(manifests_of("shared cache, filled by somebody else"), "Job")) == []


@pytest.mark.parametrize("code", [0, 1, 2, EXIT_BROKEN_VERSION])
@pytest.mark.parametrize("name", ["warm", "shared cache"])
def test_only_engines_that_are_kept_count_as_compiled(name: str, code: int, tmp_path: Path) -> None:
    """A Job or a container before fails where one is not; a version that is broken stops none."""
    stand_in = tmp_path / "sge-serve"
    stand_in.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    stand_in.chmod(0o755)
    (shell,) = {
        (*container["command"], container["args"][0].replace("cp -R", "true"))
        for pod in pods_of(name)
        for container in containers_of(pod)
        if "sge-serve compile" in container.get("args", [""])[0]
    }

    done = subprocess.run(shell, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False)

    assert (done.returncode == 0) is (code in {0, EXIT_BROKEN_VERSION})
