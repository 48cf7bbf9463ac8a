"""What the chart brings for Prometheus and KEDA, held to the metrics that the service has."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.test_monitoring import PROMETHEUS, Query, exposed, needs_promtool
from tests.kubernetes.chart import (
    CHART,
    NAME,
    NAMESPACE,
    helm,
    manifests_of,
    needs_helm,
    of_kind,
    rendered,
)
from tests.kubernetes.combinations import COMBINATIONS

pytestmark = needs_helm

RULES = sorted(PROMETHEUS.glob("rules/*.yml"))
OF_THE_OPERATOR = {"namespace", "service", "pod", "container", "endpoint"}  # labels of a target


def rules_rendered() -> list[dict[str, Any]]:
    """The rules as the chart brings them."""
    return list(of_kind(rendered(COMBINATIONS["monitored"]), "PrometheusRule"))


def scaled_object() -> dict[str, Any]:
    """How KEDA is to scale."""
    (found,) = of_kind(rendered(COMBINATIONS["scaled by requests inside"]), "ScaledObject")
    spec: dict[str, Any] = found["spec"]
    return spec


def test_the_rules_are_those_of_docker() -> None:
    """They have one home, which the chart reaches by a link."""
    groups = [yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for path in RULES]

    assert [rule["spec"]["groups"] for rule in rules_rendered()] == groups
    assert len(groups) == 2


def test_a_packaged_chart_carries_the_rules(tmp_path: Path) -> None:
    """The link does not leave them behind."""
    code, _, complaint = helm("package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packaged:
        carried = {name: packaged.extractfile(name) for name in packaged.getnames()}
        texts = {name: file.read() for name, file in carried.items() if file}

    assert code == 0, complaint
    assert {
        name: text for name, text in texts.items() if name.startswith("sge-serve/files/rules/")
    } == {f"sge-serve/files/rules/{path.name}": path.read_bytes() for path in RULES}


@needs_promtool
def test_promtool_finds_no_fault_in_the_rules(tmp_path: Path) -> None:
    """As the operator hands them to Prometheus."""
    files = []
    for rule in rules_rendered():
        files.append(tmp_path / f"{rule['metadata']['name']}.yml")
        files[-1].write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")

    done = subprocess.run(
        ["promtool", "check", "rules", *files], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_targets_get_the_job_that_the_rules_ask_for() -> None:
    """`up{job="sge-serve"}` of an alert finds the pods, whatever the release is called."""
    manifests = rendered(COMBINATIONS["monitored"])
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    (service,) = of_kind(manifests, "Service")

    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "sge-serve"
    assert [(e["port"], e["path"]) for e in monitor["spec"]["endpoints"]] == [("http", "/metrics")]


def test_a_pod_is_a_target_once_it_runs() -> None:
    """One whose image is pulled would be down for minutes; one that is not ready tells why."""
    (monitor,) = of_kind(manifests_of("monitored"), "ServiceMonitor")

    (endpoint,) = monitor["spec"]["endpoints"]

    assert endpoint["relabelings"] == [
        {"action": "keep", "sourceLabels": ["__meta_kubernetes_pod_phase"], "regex": "Running"}
    ]


def test_a_monitor_has_the_key_that_metrics_need() -> None:
    """By name of a secret, as a bearer's token."""
    manifests = rendered(COMBINATIONS["keys, certificate and gRPC"])
    (monitor,) = of_kind(manifests, "ServiceMonitor")

    (endpoint,) = monitor["spec"]["endpoints"]

    assert endpoint["authorization"] == {"credentials": {"name": "prometheus-key", "key": "key"}}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_keda_asks_for_a_metric_and_labels_that_there_are() -> None:
    """The seconds of whole requests, of this release's pods alone."""
    (trigger,) = scaled_object()["triggers"]
    selector, *_ = Query("keda", trigger["metadata"]["query"]).selectors()
    asked = {matcher.name: matcher.value for matcher in selector.matchers.matchers}

    assert selector.name in exposed()
    assert set(asked) <= exposed()[selector.name] | OF_THE_OPERATOR
    assert asked == {"phase": "total", "namespace": NAMESPACE, "service": NAME}


def test_a_scaled_object_has_what_its_definition_requires() -> None:
    """Names, a threshold as text, and bounds that Prometheus' silence does not undo."""
    spec = scaled_object()
    (trigger,) = spec["triggers"]

    assert spec["scaleTargetRef"] == {"name": NAME}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 10)
    assert spec["fallback"] == {
        "failureThreshold": 3,
        "replicas": 2,
        "behavior": "currentReplicasIfHigher",
    }
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert {type(value) for value in trigger["metadata"].values()} == {str}
    assert trigger["authenticationRef"] == {"name": "prometheus"}


@needs_promtool
@pytest.mark.parametrize(("inside", "seconds_each"), [(3, 0.1), (40, 2.0)])
def test_what_keda_asks_for_is_the_requests_inside(
    inside: int, seconds_each: float, tmp_path: Path
) -> None:
    """Little's law: two pods, each with so many inside who stay so long, are twice as many."""
    query = scaled_object()["triggers"][0]["metadata"]["query"]
    series = 'sge_phase_seconds_sum{{phase="{}", namespace="{}", service="{}", pod="{}"}}'
    left_each_15_s = 15 * inside / seconds_each  # who comes and goes, at a steady state
    grows = f"0+{left_each_15_s * seconds_each}x40"
    where = [("total", NAMESPACE, NAME, "a"), ("total", NAMESPACE, NAME, "b")]
    elsewhere = [("total", "another", NAME, "a"), ("infer", NAMESPACE, NAME, "a")]
    case = {
        "interval": "15s",
        "input_series": [
            {"series": series.format(*labels), "values": grows} for labels in where + elsewhere
        ],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "5m",
                "exp_samples": [{"labels": "{}", "value": 2 * inside}],
            }
        ],
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"tests": [case]}), encoding="utf-8")

    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
