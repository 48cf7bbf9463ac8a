"""values.schema.json: what the chart takes, and the clear line for what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from service import __version__
from service.config import Settings, variable_of
from tests.kubernetes.chart import CHART, helm, needs_helm, template
from tests.kubernetes.combinations import COMBINATIONS

# Decided by the chart: paths inside the container, its ports, its device, what secrets hold, and
# how long a stop may take.
BY_THE_CHART = {
    *("host", "port", "grpc_port", "device", "model_store", "cache_dir", "calibration_dir"),
    "drain_delay_s",
    *("api_keys_file", "admin_key_file", "tls_cert_file", "tls_key_file"),
}
KEPT = ("description", "type", "enum", "pattern", "maxLength", "minimum", "maximum")

# What a person may get wrong: values, and words that the complaint has to have.
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"settings": {"SGE_MAX_BATHC": 32}}, ["/settings", "SGE_MAX_BATHC"]),
    ({"settings": {"SGE_MAX_BATCH": 4096}}, ["/settings/SGE_MAX_BATCH", "maximum"]),
    ({"settings": {"SGE_MAX_BATCH": "many"}}, ["/settings/SGE_MAX_BATCH", "integer"]),
    ({"settings": {"SGE_ENGINE": "onnx"}}, ["/settings/SGE_ENGINE", "compiled"]),
    ({"settings": {"SGE_PORT": 80}}, ["/settings", "SGE_PORT"]),
    ({"settings": {"SGE_DRAIN_DELAY_S": 5}}, ["/settings", "SGE_DRAIN_DELAY_S"]),
    ({"replica": 3}, ["replica"]),
    ({"store": {"kind": "s3"}}, ["/store/kind", "initContainer"]),
    ({"store": {"kind": "persistentVolumeClaim"}}, ["store.persistentVolumeClaim.claimName"]),
    ({"store": {"kind": "image"}}, ["store.image.reference"]),
    ({"store": {"kind": "initContainer"}}, ["store.initContainer.image"]),
    ({"cache": {"kind": "persistentVolumeClaim"}}, ["cache.persistentVolumeClaim.claimName"]),
    ({"resources": {"limits": {"cpu": None}}}, ["/resources/limits", "cpu"]),
    ({"resources": {"limits": {"memory": None}}}, ["/resources/limits", "memory"]),
    ({"autoscaling": {"kind": "keda"}}, ["autoscaling.keda.serverAddress"]),
    ({"terminationGracePeriodSeconds": 30}, ["terminationGracePeriodSeconds", "50"]),
    ({"grpc": {"enabled": True, "port": 8000}}, ["grpc.port"]),
    ({"grpc": {"enabled": True, "port": 80}}, ["grpc.port", "service.port"]),
    ({"image": {"digest": "5e" * 32}}, ["/image/digest", "sha256"]),
    ({"resources": {"requests": {"cpu": "2500m"}}}, ["resources.limits.cpu", "2500m"]),
    ({"resources": {"limits": {"memory": "2G"}}}, ["resources.limits.memory", "2G", "4Gi"]),
    ({"resources": {"requests": {"memory": 5000000000}}}, ["resources.limits.memory", "4Gi"]),
    ({"resources": {"limits": {"memory": "4K"}}}, ["/resources/limits/memory", "pattern"]),
    ({"rollingUpdate": {"maxSurge": 0}}, ["rollingUpdate", "both 0"]),
    ({"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}}, ["rollingUpdate", "both 0"]),
    (
        {"autoscaling": {"kind": "cpu", "minReplicas": 12}, "cache": {"warm": True}},
        ["autoscaling.minReplicas", "12", "10"],
    ),
    ({"autoscaling": {"kind": "cpu"}}, ["autoscaling.kind", "cache.warm"]),
    (
        {"podLabels": {"app.kubernetes.io/instance": "another"}},
        ["podLabels", "app.kubernetes.io/instance"],
    ),
    (
        {
            "store": {"kind": "initContainer", "initContainer": {"image": "registry.example/f:1"}},
            "networkPolicy": {"enabled": True},
        },
        ["networkPolicy.egress"],
    ),
    (
        {
            "settings": {"SGE_CLOSED": "docs,metrics"},
            "monitoring": {"serviceMonitor": {"enabled": True}},
        },
        ["SGE_CLOSED", "serviceMonitor"],
    ),
    (
        {
            "settings": {"SGE_ALLOWED_HOSTS": "garments.example"},
            "monitoring": {"serviceMonitor": {"enabled": True}},
        },
        ["SGE_ALLOWED_HOSTS"],
    ),
    (
        {
            "apiKeys": {"existingSecret": "keys"},
            "monitoring": {"serviceMonitor": {"enabled": True}},
        },
        ["monitoring.serviceMonitor.authorization.existingSecret"],
    ),
]


def schema() -> dict[str, Any]:
    """The schema of the chart's values."""
    read: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return read


def property_of(field: dict[str, Any]) -> dict[str, Any]:
    """What the chart takes for a setting, by what the service says of it."""
    chosen = field | next(iter(field.get("anyOf", [])), {})  # the other is: not set
    if chosen["type"] == "array":
        return {"description": field["description"], "type": "string"}
    kept = {key: chosen[key] for key in KEPT if key in chosen}
    bound = {key: chosen[key] for key in ("exclusiveMinimum",) if key in chosen}
    return kept | bound


def settings_properties() -> dict[str, Any]:
    """Every setting that the chart leaves to its user, with the bounds that it has."""
    fields = Settings.model_json_schema()["properties"]
    left = sorted(set(fields) - BY_THE_CHART)
    return {variable_of(name): property_of(fields[name]) for name in left}


def test_settings_are_those_of_the_service_with_their_bounds() -> None:
    """A new setting cannot be forgotten here, and a wrong value never reaches a cluster."""
    settings = schema()["properties"]["settings"]

    assert settings["properties"] == settings_properties()
    assert settings["additionalProperties"] is False


def test_the_schema_knows_every_value_and_no_other() -> None:
    """What values.yaml explains can be set, and a misspelt name is refused at every depth."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    def differing(given: dict[str, Any], described: dict[str, Any], path: str) -> list[str]:
        known = described.get("properties")
        if known is None or path == "/settings":
            return []
        names = {name for name in known if name != "global"}
        below = [
            line
            for name in names & set(given)
            if isinstance(given[name], dict)
            for line in differing(given[name], known[name], f"{path}/{name}")
        ]
        return [f"{path}/{name}" for name in names ^ set(given)] + below

    assert differing(values, schema(), "") == []


def test_the_chart_is_of_the_services_version() -> None:
    """Whoever looks at a release reads which service it runs."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@needs_helm
@pytest.mark.parametrize("name", COMBINATIONS)
def test_helm_finds_no_fault(name: str) -> None:
    """Each combination passes Helm's own look at the chart."""
    code, said, _ = helm("lint", "--strict", CHART, values=COMBINATIONS[name])

    assert code == 0, said


@needs_helm
@pytest.mark.parametrize(("values", "words"), WRONG, ids=lambda side: str(side)[:60])
def test_a_wrong_value_is_refused_in_a_clear_line(values: dict[str, Any], words: list[str]) -> None:
    """Its path, and what it may be, before anything reaches a cluster."""
    code, _, complaint = template(values)

    assert code != 0
    assert [word for word in words if word not in complaint] == []


@needs_helm
@pytest.mark.parametrize("release", ["garments.v2", "2garments"])
def test_a_release_after_which_no_service_can_be_called_is_refused(release: str) -> None:
    """Helm would take it, and the API server refuse the Service when the rest is installed."""
    code, _, complaint = helm("template", release, CHART)

    assert code != 0
    assert f"the release's name: no Service can be called {release}-sge-serve" in complaint


@needs_helm
@pytest.mark.parametrize(
    ("release", "image", "words"),
    [
        ("1.30", {}, "store.kind: image needs Kubernetes 1.31 or newer, this is v1.30"),
        ("1.32", {"subPath": "a"}, "store.image.subPath needs Kubernetes 1.33 or newer"),
    ],
)
def test_image_volumes_are_refused_where_there_are_none(
    release: str, image: dict[str, str], words: str
) -> None:
    """An older Kubernetes would drop the volume, or its folder, and start a pod without models."""
    whole = {"reference": "registry.example/models:4", **image}
    values = {"store": {"kind": "image", "image": whole}}

    code, _, complaint = template(values, "--kube-version", release)

    assert code != 0
    assert words in complaint
