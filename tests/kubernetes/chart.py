"""The Helm chart as Helm renders it."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests.kubernetes.combinations import COMBINATIONS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "sge-serve"
HELM = which("helm", path=ROOT / ".venv" / "bin") or which("helm")
RELEASE = "garments"
NAME = f"{RELEASE}-sge-serve"
NAMESPACE = "shop"

needs_helm = pytest.mark.skipif(
    HELM is None, reason="helm is not installed: tests/kubernetes/get_helm.sh .venv/bin"
)


def helm(*arguments: str | Path, values: Mapping[str, Any] | None = None) -> tuple[int, str, str]:
    """Run Helm; values reach it as a file of its own.

    Returns:
        The exit code, what it printed, and what it complained of.
    """
    assert HELM is not None
    given = ("--values", "-") if values is not None else ()
    with TemporaryDirectory() as folder:  # it would keep what a cluster offers in the user's own
        done = subprocess.run(
            [HELM, *arguments, *given],
            input=yaml.safe_dump(values),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"KUBECACHEDIR": folder, "KUBECONFIG": os.devnull},
        )
    return done.returncode, done.stdout, done.stderr


def template(values: Mapping[str, Any], *flags: str) -> tuple[int, str, str]:
    """Have Helm render the chart as it would be installed."""
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *flags, values=values)


def rendered(values: Mapping[str, Any], *flags: str) -> list[dict[str, Any]]:
    """The manifests of a release with these values."""
    code, text, complaint = template(values, *flags)
    assert code == 0, complaint
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


@functools.cache
def manifests_of(name: str) -> list[dict[str, Any]]:
    """The manifests of a combination of values."""
    return rendered(COMBINATIONS[name])


def of_kind(manifests: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    """The manifests of one kind."""
    yield from (manifest for manifest in manifests if manifest["kind"] == kind)


def pod_of(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod that serves."""
    (deployment,) = of_kind(manifests, "Deployment")
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def variables_of(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container that are given by value."""
    return {entry["name"]: entry["value"] for entry in container["env"]}


def containers_of(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every container of a pod, those that run before the others among them."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def pods_of(name: str) -> list[dict[str, Any]]:
    """The pods that a combination brings: those that serve and those that compile."""
    owners = ("Deployment", "Job")
    found = [manifest for kind in owners for manifest in of_kind(manifests_of(name), kind)]
    return [manifest["spec"]["template"]["spec"] for manifest in found]
