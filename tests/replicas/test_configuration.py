"""deploy/envoy/envoy.yaml: valid for Envoy itself, and held to the service's settings."""

from __future__ import annotations

import subprocess
from typing import Any

import yaml

from service.config import Settings
from tests.replicas.balancer import ENVOY, ROOT, SHIPPED, shipped

BALANCERS = ROOT / "docker" / "monitoring" / "prometheus" / "balancers" / "envoy.yml"

LISTENERS = shipped()["static_resources"]["listeners"]
SERVICE = LISTENERS[0]["filter_chains"][0]["filters"][0]["typed_config"]
HOST = SERVICE["route_config"]["virtual_hosts"][0]
REPLICAS = shipped()["static_resources"]["clusters"][0]
MEBIBYTE = 2**20


def upstream() -> dict[str, Any]:
    """What connections to replicas are like."""
    (options,) = REPLICAS["typed_extension_protocol_options"].values()
    found: dict[str, Any] = options["common_http_protocol_options"]
    return found


def seconds(text: str) -> float:
    """What a duration says."""
    return float(text.removesuffix("s"))


def test_envoy_finds_nothing_to_say_about_it() -> None:
    """It is valid, and uses nothing that is about to be removed."""
    command = [ENVOY, "--mode", "validate", "--log-level", "warning", "--config-path", str(SHIPPED)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_its_times_and_bounds_fit_those_of_the_service() -> None:
    """A replica refuses, expires and keeps connections by its own settings, not by Envoy's."""
    default = Settings(_env_file=None)
    (of_all,) = REPLICAS["circuit_breakers"]["thresholds"]
    (of_one,) = REPLICAS["circuit_breakers"]["per_host_thresholds"]
    whole_s = default.head_timeout_s + default.body_timeout_s

    assert seconds(upstream()["idle_timeout"]) < default.keep_alive_s
    assert SERVICE["max_request_headers_kb"] * 1024 < default.head_limit_kb * 1000
    assert seconds(SERVICE["request_headers_timeout"]) == default.head_timeout_s
    assert seconds(SERVICE["request_timeout"]) == whole_s
    assert seconds(HOST["retry_policy"]["per_try_idle_timeout"]) > default.default_timeout_ms / 1000
    assert seconds(SERVICE["stream_idle_timeout"]) > 2 * seconds(
        HOST["retry_policy"]["per_try_idle_timeout"]
    )
    assert default.max_in_flight < of_one["max_connections"] < default.max_connections
    assert of_all["retry_budget"]["min_retry_concurrency"] == default.max_in_flight


def test_prometheus_finds_envoy_once_the_last_line_is_no_comment() -> None:
    """The file is valid as it ships, naming nobody, and after the one change that is described."""
    text = BALANCERS.read_text(encoding="utf-8")
    *before, last = text.splitlines()
    uncommented = "\n".join([*before, last.replace("# ", "", 1)])

    assert yaml.safe_load(text) == [{"targets": None}]
    assert yaml.safe_load(uncommented) == [{"targets": ["envoy:9902"]}]


def test_what_is_sent_again_is_what_is_kept() -> None:
    """The body that is waited for, the one that is kept, and where a large one begins."""
    (buffered, _) = SERVICE["http_filters"]
    large = next(route for route in HOST["routes"] if route["name"] == "large")
    ((length,),) = [large["match"]["headers"]]
    kept = HOST["request_body_buffer_limit"]

    assert kept == 4 * MEBIBYTE
    assert buffered["typed_config"]["max_request_bytes"] == kept
    assert length["range_match"]["start"] == kept + 1


def test_the_page_of_administration_is_for_the_container_alone() -> None:
    """It can stop Envoy."""
    assert shipped()["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
