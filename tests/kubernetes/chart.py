"""The Helm chart as Helm renders it, and the combinations of values that it offers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "sge-serve"
HELM = which("helm", path=ROOT / ".venv" / "bin") or which("helm")
RELEASE = "garments"
NAME = f"{RELEASE}-sge-serve"
NAMESPACE = "shop"

needs_helm = pytest.mark.skipif(
    HELM is None, reason="helm is not installed: tests/kubernetes/get_helm.sh .venv/bin"
)

# What a user may combine, each by itself and all of it together.
COMBINATIONS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "gpu": {"gpu": {"enabled": True, "runtimeClassName": "nvidia"}},
    "store on a claim": {
        "store": {
            "kind": "persistentVolumeClaim",
            "persistentVolumeClaim": {"claimName": "models", "subPath": "garments"},
        }
    },
    "store in an image": {
        "store": {"kind": "image", "image": {"reference": "registry.example/models:4"}}
    },
    "store by a container": {
        "store": {
            "kind": "initContainer",
            "initContainer": {
                "image": "registry.example/fetch:1",
                "args": ["models/garments", "/store"],
                "env": [{"name": "REGION", "value": "north"}],
                "envFrom": [{"secretRef": {"name": "bucket"}}],
            },
        }
    },
    "warm": {"cache": {"warm": True, "emptyDir": {"sizeGi": 8}}},
    "shared cache": {
        "nodeSelector": {"pool": "serving"},
        "cache": {
            "kind": "persistentVolumeClaim",
            "persistentVolumeClaim": {
                "claimName": "engines",
                "warmOn": [{"cpu": "with-amx"}, {"cpu": "without"}],
            },
        },
    },
    "shared cache, filled by somebody else": {
        "cache": {
            "kind": "persistentVolumeClaim",
            "persistentVolumeClaim": {"claimName": "engines", "warmOn": []},
        }
    },
    "scaled by cpu": {"autoscaling": {"kind": "cpu"}},
    "scaled by requests inside": {
        "autoscaling": {
            "kind": "keda",
            "keda": {"serverAddress": "http://prometheus:9090", "authenticationRef": "prometheus"},
        }
    },
    "network policy": {
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        }
    },
    "monitored": {
        "monitoring": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}},
        "networkPolicy": {"enabled": True},
    },
    "keys, certificate and gRPC": {
        "apiKeys": {"existingSecret": "api-keys"},
        "adminKeys": {"existingSecret": "admin-keys", "key": "admins"},
        "tls": {"existingSecret": "certificate"},
        "grpc": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "monitoring": {
            "serviceMonitor": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "authorization": {"existingSecret": "prometheus-key"},
            }
        },
    },
    "settings": {
        "settings": {
            "SGE_MAX_BATCH": 32,
            "SGE_DEFAULT_TIMEOUT_MS": 5000000,
            "SGE_DRAIN_TIMEOUT_S": 60,
            "SGE_DRAIN_DELAY_S": 2.5,
            "SGE_TIERED": False,
            "SGE_MODELS": "garments,garments/3",
            "SGE_STORE_POLL_S": 2.5,
        },
        "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel:4317"}],
    },
    "placed": {
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccount": {"create": False, "name": "serving"},
        "podDisruptionBudget": {"enabled": False},
        "podAnnotations": {"team": "shop"},
        "podLabels": {"team": "shop"},
        "priorityClassName": "high",
        "nodeSelector": {"pool": "serving"},
        "tolerations": [{"key": "serving", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [],
        "extraVolumes": [{"name": "more", "configMap": {"name": "more"}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    },
}


def helm(*arguments: str | Path, values: Mapping[str, Any] | None = None) -> tuple[int, str, str]:
    """Run Helm; values reach it as a file of its own.

    Returns:
        The exit code, what it printed, and what it complained of.
    """
    assert HELM is not None
    given = ("--values", "-") if values is not None else ()
    done = subprocess.run(
        [HELM, *arguments, *given],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        check=False,
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
