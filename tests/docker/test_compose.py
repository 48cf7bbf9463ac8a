"""docker-compose.yml: validated by compose itself, and held to the service's settings."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.config import ENV_PREFIX, Settings
from tests.replicas.balancer import SHIPPED, shipped

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"

# Decided by the image: paths inside the container, the port that is published, the target's device.
BY_THE_IMAGE = {"host", "port", "model_store", "cache_dir", "calibration_dir", "device"}
CHECK = "gpu-check"  # runs once before the service
PROFILES: tuple[list[str], ...] = (
    [],
    ["--profile", "gpu"],
    ["--profile", "cpu", "--profile", "monitoring"],
    ["--profile", "replicas"],
)
INSIDE = "replica"  # reached by the balancer alone
OF_OPENTELEMETRY = (
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    *("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "OTEL_TRACES_EXPORTER"),
    *("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
)


def compose() -> list[str] | None:
    """The command of compose v2: a program of its own, or docker's plugin."""
    alone = shutil.which("docker-compose") or shutil.which(
        "docker-compose", path=ROOT / ".venv/bin"
    )
    for command in ([alone], ["docker", "compose"]):
        if command[0] is None or shutil.which(command[0]) is None:
            continue
        said = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, check=False
        )
        if said.returncode == 0 and not said.stdout.startswith(("1.", "v1.")):
            return [str(word) for word in command]
    return None


COMPOSE = compose()
needs_compose = pytest.mark.skipif(COMPOSE is None, reason="docker compose v2 is not installed")


def resolved(*options: str, **variables: str) -> dict[str, Any]:
    """The services that would run, as compose understands the file."""
    assert COMPOSE is not None
    inherited = {k: v for k, v in os.environ.items() if not k.startswith((ENV_PREFIX, "COMPOSE_"))}
    done = subprocess.run(
        [*COMPOSE, "--file", str(COMPOSE_FILE), *options, "config"],
        capture_output=True,
        text=True,
        check=False,
        env=inherited | variables,
    )
    assert (done.returncode, done.stderr) == (0, "")
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return services


def staying(services: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run until they are stopped, by name."""
    return {name: service for name, service in services.items() if name != CHECK}


@needs_compose
def test_up_alone_starts_the_service_on_the_cpu() -> None:
    """Whoever knows nothing of profiles gets a running service."""
    assert set(resolved()) == {"cpu"}


@needs_compose
def test_profiles_choose_the_device_and_add_monitoring() -> None:
    """A profile on the command line takes the place of the default one."""
    monitoring = {"prometheus", "grafana"}
    assert set(resolved("--profile", "gpu")) == {"gpu", CHECK}
    assert set(resolved(COMPOSE_PROFILES="gpu,monitoring")) == {"gpu", CHECK} | monitoring
    assert set(resolved("--profile", "monitoring")) == monitoring
    assert set(resolved("--profile", "replicas")) == {INSIDE, "envoy"}


@needs_compose
@pytest.mark.parametrize("options", PROFILES)
def test_every_container_is_hardened_limited_watched_and_restarted(options: list[str]) -> None:
    """No service of any profile goes without."""
    for name, service in staying(resolved(*options)).items():
        limits = service["deploy"]["resources"]["limits"]
        ports = [port["host_ip"] for port in service.get("ports", ())]

        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert {"memory", "pids"} <= set(limits)
        assert service["healthcheck"]["test"]
        assert ports == ([] if name == INSIDE else ["127.0.0.1"])


@needs_compose
def test_a_setting_of_the_shell_reaches_the_service() -> None:
    """And what nobody set stays the image's own default."""
    (service,) = resolved(SGE_MAX_BATCH="8", SERVE_PORT="9000", MEMORY="2g").values()

    environment = {k: v for k, v in service["environment"].items() if v is not None}
    assert environment == {"SGE_MAX_BATCH": "8"}
    assert service["ports"][0]["published"] == "9000"
    assert service["deploy"]["resources"]["limits"]["memory"] == str(2 * 1024**3)


@needs_compose
def test_replicas_are_as_many_as_were_asked_for_behind_one_published_port() -> None:
    """Each by the service's settings; the balancer runs the configuration that is tested."""
    shell = {"SERVE_PORT": "9000", "SGE_MAX_BATCH": "8", "SGE_STORE_POLL_S": "60"}
    services = resolved("--profile", "replicas", **shell)
    replica, envoy = services[INSIDE], services["envoy"]
    more = resolved("--profile", "replicas", REPLICAS="5")[INSIDE]

    environment = {k: v for k, v in replica["environment"].items() if v is not None}
    mounted = {volume["target"]: Path(volume["source"]) for volume in envoy["volumes"]}
    assert (replica["deploy"]["replicas"], more["deploy"]["replicas"]) == (3, 5)
    assert environment == {
        "SGE_DRAIN_DELAY_S": "3",
        "SGE_MAX_BATCH": "8",
        "SGE_STORE_POLL_S": "60",
        "SGE_TRUSTED_PROXIES": "*",
    }
    assert [(port["published"], port["target"]) for port in envoy["ports"]] == [("9000", 8000)]
    assert envoy["command"][:2] == ["--config-path", "/etc/envoy/envoy.yaml"]
    assert mounted["/etc/envoy/envoy.yaml"] == SHIPPED


@needs_compose
def test_replicas_and_envoy_find_each_other() -> None:
    """The name and the port in Envoy's configuration are compose's."""
    services = resolved("--profile", "replicas")
    (cluster, _) = shipped()["static_resources"]["clusters"]
    (place,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    networks = {name: set(service["networks"]) for name, service in services.items()}

    assert place["endpoint"]["address"]["socket_address"] == {"address": INSIDE, "port_value": 8000}
    assert networks == {INSIDE: {"default"}, "envoy": {"default"}}


@needs_compose
def test_the_gpus_profile_does_not_serve_on_a_cpu() -> None:
    """Whoever asks for a GPU and has none that works is told so."""
    services = resolved("--profile", "gpu", SGE_MAX_BATCH="8").values()

    for service in services:
        environment = {k: v for k, v in service["environment"].items() if v is not None}
        assert environment == {"SGE_MAX_BATCH": "8", "SGE_DEVICE": "cuda"}


@needs_compose
def test_without_a_gpu_the_gpus_profile_ends_instead_of_beginning_again_and_again() -> None:
    """What is checked once, in the same container, has to succeed before the service starts."""
    services = resolved("--profile", "gpu")
    service, check = services["gpu"], services[CHECK]

    assert service["depends_on"] == {
        CHECK: {"condition": "service_completed_successfully", "required": True}
    }
    assert service["restart"] == "unless-stopped"  # a crash is no missing GPU
    assert (check["restart"], check.get("ports"), check.get("depends_on")) == ("no", None, None)
    assert check["healthcheck"] == {"disable": True}
    for same in ("image", "environment", "deploy", "volumes", "read_only", "cap_drop"):
        assert check[same] == service[same]


@pytest.mark.parametrize(("code", "told"), [(0, 0), (1, 0), (2, 2)])
def test_what_is_checked_before_the_service_starts_lets_broken_versions_pass(
    code: int, told: int, tmp_path: Path
) -> None:
    """`sge-serve check` ends with 1 where only some are, and those are not served."""
    compose_file = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    command = [word.replace("$$", "$") for word in compose_file["services"][CHECK]["entrypoint"]]
    stand_in = tmp_path / "sge-serve"
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = check ] && exit {code}\n', encoding="ascii")
    stand_in.chmod(0o755)

    done = subprocess.run(
        command, check=False, env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    )

    assert done.returncode == told


@needs_compose
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_a_build_may_take_its_packages_from_elsewhere(profile: str) -> None:
    """Another base, another torch and a private index, whose settings stay out of the image."""
    asked = {"BASE": "b", "TORCH_INDEX": "t", "REVISION": "r", "PIP_CONF": "/private/pip.conf"}
    service = resolved("--profile", profile, **asked)[profile]

    arguments = service["build"]["args"]
    assert {name: arguments[name] for name in ("BASE", "TORCH_INDEX", "REVISION")} == {
        name: value for name, value in asked.items() if name != "PIP_CONF"
    }
    assert [secret["source"] for secret in service["build"]["secrets"]] == ["pip.conf"]


def test_compose_passes_every_setting_that_the_image_does_not_decide() -> None:
    """A new setting cannot be forgotten here."""
    passed = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["x-environment"]

    free = set(Settings.model_fields) - BY_THE_IMAGE
    assert list(passed) == sorted(
        [*(f"{ENV_PREFIX}{name.upper()}" for name in free), *OF_OPENTELEMETRY]
    )
