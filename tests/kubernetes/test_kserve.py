"""KServe: its client against the service, and its own models against our manifests."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import __version__
from service.api.server import OVERTIME_S
from service.cli import _parser
from service.commands.flags import settings_of
from service.config import Settings
from tests.kubernetes.chart import ROOT, variables_of
from tests.processes import ready

KSERVE = ROOT / "deploy" / "kserve"
CLIENT = ROOT / "build" / "kserve-client" / "bin" / "python"
PICTURE = ROOT / "tests" / "data" / "ankle-boot-on-canvas.png"
VERSION = ROOT / "model_store" / "fashion-mnist" / "4"
KINDS = {
    "clusterservingruntime.yaml": "V1alpha1ClusterServingRuntime",
    "inferenceservice.yaml": "V1beta1InferenceService",
}


def needs_client(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that asks KServe's client, whose import takes several seconds."""
    how = "tests/kubernetes/get_kserve_client.sh build/kserve-client"
    is_missing = pytest.mark.skipif(not CLIENT.exists(), reason=f"no client of KServe: {how}")
    marked: Callable[..., None] = pytest.mark.slow(is_missing(test))
    return marked


def manifest(name: str) -> dict[str, Any]:
    """One of the manifests."""
    read: dict[str, Any] = yaml.safe_load((KSERVE / name).read_text(encoding="utf-8"))
    return read


def ask_client(script: str, *arguments: str | Path) -> Any:
    """Run a script by the Python that has KServe's client."""
    done = subprocess.run(
        [CLIENT, Path(__file__).with_name(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_client
def test_kserves_client_is_answered() -> None:
    """Health, tensors in both forms and pictures by its second protocol; nothing by its first."""
    with ready(VERSION, "--model-name", "garments") as service:
        seen = ask_client("kserve_client.py", service.address, "garments", PICTURE)

    assert seen == {
        "server ready": True,
        "server live": True,
        "model ready": True,
        "other model ready": False,
        "shape": [2, 10],
        "both forms agree": True,
        "label": "Ankle boot",
        "by the first protocol": 405,
    }


@needs_client
@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_kserves_own_models_find_no_fault(name: str, kind: str) -> None:
    """No field is misspelt or at the wrong place, and none that is required is missing."""
    assert ask_client("kserve_models.py", KSERVE / name, kind) == []


@needs_client
def test_kserves_own_models_find_the_faults_that_there_are(tmp_path: Path) -> None:
    """A misspelt field is named where it stands, and so is one that is missing."""
    broken = manifest("clusterservingruntime.yaml")
    broken["spec"]["container"] = broken["spec"].pop("containers")
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(broken), encoding="utf-8")

    faults = ask_client("kserve_models.py", file, KINDS["clusterservingruntime.yaml"])

    assert faults == [
        ".spec.container: V1alpha1ServingRuntimeSpec has no such field",
        ".spec: Invalid value for `containers`, must not be `None`",
    ]


@needs_client
def test_a_kind_that_no_model_describes_is_no_kind_without_faults() -> None:
    """Where nothing was looked at, nothing is said to be right."""
    with pytest.raises(AssertionError, match="no model of V1beta1Service"):
        ask_client("kserve_models.py", KSERVE / "inferenceservice.yaml", "V1beta1Service")


def test_the_runtimes_image_is_of_the_services_version() -> None:
    """As the chart's is: a node that has an older one does not take it for this one."""
    (container,) = manifest("clusterservingruntime.yaml")["spec"]["containers"]

    assert container["image"] == f"sge-serve:{__version__}-cpu"


def test_a_stop_has_the_time_that_the_runtime_takes() -> None:
    """The wait for endpoints, open connections, the drain and the last resort, before the kill."""
    (container,) = manifest("clusterservingruntime.yaml")["spec"]["containers"]
    predictor = manifest("inferenceservice.yaml")["spec"]["predictor"]
    waited_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    delay_s = float(variables_of(container)["SGE_DRAIN_DELAY_S"])
    drain_s = Settings.model_fields["drain_timeout_s"].default

    assert delay_s > 0
    assert predictor["terminationGracePeriodSeconds"] > waited_s + delay_s + drain_s + OVERTIME_S


def test_the_example_is_scaled_by_processor_time_in_a_deployment() -> None:
    """ScaleMetric cpu is of that mode: Knative's autoscaler would not read it by itself."""
    service = manifest("inferenceservice.yaml")

    assert service["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "hpa",
    }
    assert service["spec"]["predictor"]["scaleMetric"] == "cpu"


def test_the_runtime_starts_the_service_by_flags_that_it_has() -> None:
    """On the port that is named, with the model's files where KServe mounts them."""
    (container,) = manifest("clusterservingruntime.yaml")["spec"]["containers"]
    command = [re.sub(r"{{\.Name}}", "garments", word) for word in container["args"]]

    settings = settings_of(_parser().parse_args(command))

    assert (settings.host, settings.port) == ("0.0.0.0", 8080)  # noqa: S104
    assert settings.model_store == Path("/mnt/models")
    assert settings.model_name == "garments"
    assert [port["containerPort"] for port in container["ports"]] == [8080]
    assert [port["name"] for port in container["ports"]] == ["http1"]


def test_the_runtime_is_for_the_second_protocol_alone() -> None:
    """KServe would send its first one elsewhere, and asks whether requests may come."""
    spec = manifest("clusterservingruntime.yaml")["spec"]
    (container,) = spec["containers"]

    assert spec["protocolVersions"] == ["v2"]
    assert container["name"] == "kserve-container"
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_the_example_asks_for_the_runtime() -> None:
    """By its name, a format that it supports, and the protocol that it speaks."""
    runtime = manifest("clusterservingruntime.yaml")
    model = manifest("inferenceservice.yaml")["spec"]["predictor"]["model"]
    formats = [(f["name"], f["version"]) for f in runtime["spec"]["supportedModelFormats"]]

    assert model["runtime"] == runtime["metadata"]["name"]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
