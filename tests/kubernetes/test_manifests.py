"""What the chart renders: valid for Kubernetes, hardened, and in agreement with itself."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
from kubernetes_validate.utils import all_versions

from service import __version__
from service.api.server import OVERTIME_S
from service.config import Settings, variable_of
from tests.kubernetes.chart import (
    NAME,
    RELEASE,
    containers_of,
    manifests_of,
    needs_helm,
    of_kind,
    pod_of,
    pods_of,
    variables_of,
)
from tests.kubernetes.combinations import COMBINATIONS

pytestmark = needs_helm

RELEASES = list(dict.fromkeys(all_versions()))[
    -4:
]  # those that are supported, and one that was until lately
OF_OPERATORS = {
    "ScaledObject",
    "ServiceMonitor",
    "PrometheusRule",
}  # Kubernetes has no schema of them
OF_KUBERNETES = {
    *("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"),
    *("HorizontalPodAutoscaler", "NetworkPolicy", "Job"),
}
USER = 10001  # the image's

every_combination = pytest.mark.parametrize("name", COMBINATIONS)


def complaint_of(manifest: dict[str, Any], release: str) -> str | None:
    """What a release of Kubernetes says against a manifest, unknown fields included."""
    try:
        kubernetes_validate.validate(manifest, release, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{manifest['kind']} {manifest['metadata']['name']}: {error.message}"
    return None


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid(release: str) -> None:
    """By the schemas of the releases themselves, for all that the chart offers."""
    all_of_them = {json.dumps(each) for name in COMBINATIONS for each in manifests_of(name)}
    known = [each for each in map(json.loads, all_of_them) if each["kind"] not in OF_OPERATORS]

    complaints = [complaint_of(manifest, release) for manifest in known]

    assert [complaint for complaint in complaints if complaint] == []
    assert {each["kind"] for each in known} == OF_KUBERNETES


@every_combination
def test_every_container_is_hardened_and_limited(name: str) -> None:
    """No root, no capability, no token, nowhere to write but volumes, a bound on all it takes."""
    for pod in pods_of(name):
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, USER)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in containers_of(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])


@every_combination
def test_what_is_mounted_is_there_and_the_store_is_only_read(name: str) -> None:
    """Every mount has its volume, every volume its mount, and no model is changed from inside."""
    for pod in pods_of(name):
        mounts = [mount for container in containers_of(pod) for mount in container["volumeMounts"]]
        stores = [mount for mount in mounts if mount["mountPath"] == "/srv/model_store"]

        assert {mount["name"] for mount in mounts} == {volume["name"] for volume in pod["volumes"]}
        assert [mount for mount in stores if not mount["readOnly"]] == []


@every_combination
def test_the_service_understands_every_variable(name: str) -> None:
    """What the chart sets passes the service's own look at it, wherever the image runs."""
    ours = [
        variables_of(container)
        for pod in pods_of(name)
        for container in containers_of(pod)
        if container["image"].startswith("sge-serve")
    ]
    given = [{v: text for v, text in each.items() if v.startswith("SGE_")} for each in ours]
    names = {variable_of(field): field for field in Settings.model_fields}

    settings = [
        Settings(_env_file=None, **{names[v]: text for v, text in each.items()})  # type: ignore[arg-type]
        for each in given
    ]

    assert {each.port for each in settings} == {8000}


@every_combination
def test_what_belongs_together_finds_each_other(name: str) -> None:
    """Service, budget, policy, autoscaler and monitor name the pods and ports that there are."""
    manifests = manifests_of(name)
    (deployment,) = of_kind(manifests, "Deployment")
    (service,) = of_kind(manifests, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    (container,) = pod_of(manifests)["containers"]
    ports = {port["name"] for port in container["ports"]}
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        *(
            each["spec"]["selector"]["matchLabels"]
            for each in of_kind(manifests, "PodDisruptionBudget")
        ),
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in pod_of(manifests)["topologySpreadConstraints"]
        ),
    ]
    others = [job["spec"]["template"]["metadata"]["labels"] for job in of_kind(manifests, "Job")]
    guarded = [
        each["spec"]["podSelector"]["matchLabels"] for each in of_kind(manifests, "NetworkPolicy")
    ]
    scaled = [
        each["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for each in of_kind(manifests, kind)
    ]
    monitors = [each["spec"] for each in of_kind(manifests, "ServiceMonitor")]

    assert [selector for selector in selectors if not selector.items() <= labels] == []
    assert [each for each in others if service["spec"]["selector"].items() <= each.items()] == []
    assert [
        selector
        for selector in guarded
        if not any(selector.items() <= pod for pod in (labels, *(each.items() for each in others)))
    ] == []
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    assert set(scaled) <= {deployment["metadata"]["name"]} == {NAME}
    assert deployment["spec"]["replicas"] == 2
    assert [
        monitor
        for monitor in monitors
        if not monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ] == []


@every_combination
def test_who_stops_is_given_the_time_that_it_takes(name: str) -> None:
    """The wait for endpoints, the drain, and the service's own last resort, before it is killed."""
    pod = pod_of(manifests_of(name))
    (container,) = pod["containers"]
    set_ = variables_of(container)
    drain_s = float(
        set_.get("SGE_DRAIN_TIMEOUT_S", Settings.model_fields["drain_timeout_s"].default)
    )
    drain_s += float(set_.get("SGE_DRAIN_DELAY_S", Settings.model_fields["drain_delay_s"].default))

    waited_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod["terminationGracePeriodSeconds"] > waited_s + drain_s + OVERTIME_S


def test_who_has_a_connection_is_told_to_leave_before_it_is_refused() -> None:
    """A stop goes on for the delay that is set, in which answers carry Connection: close."""
    delays = {
        name: variables_of(pod_of(manifests_of(name))["containers"][0])["SGE_DRAIN_DELAY_S"]
        for name in ("as it comes", "settings")
    }

    assert delays == {"as it comes": "5", "settings": "2.5"}


def test_probes_ask_what_the_service_means_by_them() -> None:
    """Alive restarts a pod, ready sends it requests, and a busy minute does neither."""
    (container,) = pod_of(manifests_of("as it comes"))["containers"]
    probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}

    paths = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
    patience_s = {
        kind: probe["periodSeconds"] * probe["failureThreshold"] for kind, probe in probes.items()
    }

    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}
    assert patience_s == {"startup": 180, "readiness": 6, "liveness": 60}
    assert {probe["httpGet"]["scheme"] for probe in probes.values()} == {"HTTP"}


def test_numbers_reach_the_service_as_they_were_written() -> None:
    """Helm reads a million as a float, which Python would refuse for an integer as 1e+06."""
    (container,) = pod_of(manifests_of("settings"))["containers"]

    variables = variables_of(container)

    assert (
        variables.items()
        >= {
            "SGE_MAX_BATCH": "32",
            "SGE_DEFAULT_TIMEOUT_MS": "5000000",
            "SGE_STORE_POLL_S": "2.5",
            "SGE_TIERED": "false",
        }.items()
    )


def test_a_gpu_is_asked_for_and_nothing_else_serves() -> None:
    """One device a pod, the image for it, and no service on a CPU where there is none."""
    pod = pod_of(manifests_of("gpu"))
    (container,) = pod["containers"]

    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"] == f"sge-serve:{__version__}-cuda"
    assert variables_of(container)["SGE_DEVICE"] == "cuda"
    assert pod["runtimeClassName"] == "nvidia"


def test_an_image_is_named_by_the_services_version_or_by_its_digest() -> None:
    """So that a node which has an older one does not take it for the one that is meant."""
    images = {
        name: {container["image"] for pod in pods_of(name) for container in containers_of(pod)}
        for name in ("as it comes", "by digest")
    }

    assert images == {
        "as it comes": {f"sge-serve:{__version__}-cpu"},
        "by digest": {f"sge-serve@sha256:{'5e' * 32}"},
    }


def test_pods_are_spread_by_whoever_is_named() -> None:
    """By the selector that a constraint has; one that has none is of this release's pods."""
    zone, rack = pod_of(manifests_of("placed"))["topologySpreadConstraints"]

    assert zone["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == RELEASE
    assert rack["labelSelector"] == {"matchLabels": {"team": "shop"}}
