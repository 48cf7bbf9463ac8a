"""The shipped dashboard and alert rules, held to the metrics that the service exposes."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import promql_parser as promql
import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from service.api.context import Outcome
from service.api.errors import ADMISSION_CODES, OUTCOMES, STATUS_OF
from service.metrics import PHASES, SECONDS, Metrics
from service.serving.tiers import Tier
from tests.replicas.balancer import MEMBERSHIP

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker" / "monitoring" / "prometheus"
DASHBOARD = ROOT / "docker" / "monitoring" / "grafana" / "dashboards" / "sge-serve.json"

# What Prometheus itself adds to every series, and the one series that it makes of a target.
TARGET_LABELS = {"job", "instance"}
OF_PROMETHEUS: dict[str, set[str]] = {"up": set()}
# Of the balancer; tests/replicas reads them from one that runs.
OF_ENVOY = {MEMBERSHIP: {"envoy_cluster_name"}}
STOPPING = "draining"
OF_CLIENTS = {"deadline_exceeded", "too_many_connections", "unsupported"}
OF_THE_SERVICE = {Outcome.INTERNAL, Outcome.CANCELLED}  # outcomes that no class of error has

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and where it stands."""

    place: str
    text: str

    def selectors(self) -> list[promql.VectorSelector]:
        """Every place in the query that names a metric."""
        found: list[promql.VectorSelector] = []

        def admitted(node: promql.Expr) -> None:
            match node:
                case promql.VectorSelector():
                    found.append(node)
                case promql.MatrixSelector():
                    found.append(node.vector_selector)

        promql.walk(promql.parse(self.text), admitted)
        return found


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[Query]:
    """The dashboard's queries, its variables replaced as Grafana would."""
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            yield Query(panel["title"], text.replace("$instance", ".*").replace("$model", ".*"))


def rules() -> list[dict[str, Any]]:
    """Every recording and alerting rule."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in PROMETHEUS.glob("rules/*.yml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def rule_queries() -> Iterator[Query]:
    """The queries of the rules."""
    for rule in rules():
        yield Query(rule.get("alert") or rule["record"], rule["expr"])


def every_query() -> list[Query]:
    """All that is asked of Prometheus."""
    return [*panel_queries(), *rule_queries()]


def exposed() -> dict[str, set[str]]:
    """The names of the service's series with their labels."""
    series: dict[str, set[str]] = {}
    for metric in vars(Metrics(CollectorRegistry())).values():
        match metric:
            case Counter():
                series[f"{metric._name}_total"] = set(metric._labelnames)
            case Histogram():
                labels = set(metric._labelnames)
                series |= {f"{metric._name}_{part}": labels for part in ("sum", "count")}
                series[f"{metric._name}_bucket"] = labels | {"le"}
            case MetricWrapperBase():
                series[metric._name] = set(metric._labelnames)
    return series | of_the_process()


def of_the_process() -> dict[str, set[str]]:
    """The series of the service's process, which have no labels."""
    collector = ProcessCollector(registry=None)
    return {sample.name: set() for family in collector.collect() for sample in family.samples}


def known() -> dict[str, set[str]]:
    """Every series that a query may name: the service's, recorded ones, Prometheus' and Envoy's."""
    recorded: dict[str, set[str]] = {rule["record"]: set() for rule in rules() if "record" in rule}
    return exposed() | recorded | OF_PROMETHEUS | OF_ENVOY


def matched(label: str) -> set[str]:
    """The values that queries ask for of a label, by name or as alternatives."""
    return {
        value
        for query in every_query()
        for selector in query.selectors()
        for matcher in selector.matchers.matchers
        if matcher.name == label
        for value in matcher.value.split("|")
    }


def test_every_query_names_metrics_that_exist() -> None:
    """No panel and no alert waits for a metric that the service does not have."""
    series = known()

    unknown = {
        (query.place, selector.name)
        for query in every_query()
        for selector in query.selectors()
        if selector.name not in series
    }

    assert unknown == set()


def test_every_query_selects_by_labels_that_exist() -> None:
    """A matcher on a label that is never set would select nothing, or everything."""
    series = known()

    unknown = {
        (query.place, selector.name, matcher.name)
        for query in every_query()
        for selector in query.selectors()
        for matcher in selector.matchers.matchers
        if matcher.name not in series[selector.name or ""] | TARGET_LABELS
    }

    assert unknown == set()


def test_queries_ask_for_label_values_that_occur() -> None:
    """Phases, buckets, outcomes, reasons and tiers are spelt as the service spells them."""
    assert matched("phase") <= set(PHASES)
    assert matched("le") <= {str(float(bound)) for bound in SECONDS}
    assert matched("outcome") <= set(OUTCOMES)
    assert matched("reason") <= ADMISSION_CODES
    assert matched("tier") <= set(get_args(Tier))


def test_every_outcome_that_is_the_services_fault_burns_the_error_budget() -> None:
    """A new kind of 5xx cannot be forgotten; what clients can bring about wakes nobody."""
    faults = {error.code for error, status in STATUS_OF.items() if status >= 500}

    assert matched("outcome") == (faults | OF_THE_SERVICE | {Outcome.OK}) - {STOPPING} - OF_CLIENTS


def test_what_an_alert_compares_with_is_recorded() -> None:
    """Every recorded series is used, by an alert or by the dashboard."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {selector.name for query in every_query() for selector in query.selectors()}

    assert recorded - used == set()


def test_every_alert_says_how_urgent_it_is_and_what_it_means() -> None:
    """Whoever is woken reads a sentence, not a query."""
    alerts = [rule for rule in rules() if "alert" in rule]

    assert {alert["labels"]["severity"] for alert in alerts} == {"page", "ticket"}
    assert {tuple(sorted(alert["annotations"])) for alert in alerts} == {("description", "summary")}


def test_panels_do_not_overlap_and_have_names_of_their_own() -> None:
    """The dashboard is laid out on Grafana's grid of 24 columns."""
    every = dashboard()["panels"]
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in every)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
    assert len({panel["id"] for panel in every}) == len({panel["title"] for panel in every})
    assert len({panel["id"] for panel in every}) == len(every)


def test_panels_read_the_source_that_is_provisioned() -> None:
    """Grafana's provisioned source is the dashboard's default, and no panel is tied to another."""
    provisioned = DASHBOARD.parents[1] / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(provisioned.read_text(encoding="utf-8"))["datasources"]
    chosen = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    asked = {
        part["datasource"]["uid"]
        for part in itertools.chain(panels(), *(panel["targets"] for panel in panels()))
    }

    assert chosen["datasource"]["current"]["value"] == source["uid"]
    assert asked == {"${datasource}"}


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", str(PROMETHEUS / "prometheus.yml")),
        ("test", "rules", "tests/docker/alerts.yml"),
        ("test", "rules", "tests/docker/alerts_of_days.yml"),
    ],
    ids=lambda command: "-".join(command[:2]) + "-" + Path(command[2]).stem,
)
def test_promtool_finds_no_fault(command: tuple[str, ...]) -> None:
    """The configuration is valid, and the alerts fire when they should and not before."""
    done = subprocess.run(
        ["promtool", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
