"""Envoy as a process, by the configuration that ships: nothing but addresses is put into it."""

from __future__ import annotations

import copy
import http.client
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from tests.processes import PATIENCE_S

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "envoy" / "envoy.yaml"
ENVOY = shutil.which("envoy") or str(Path(sys.executable).parent / "envoy")
LOOPBACK = "127.0.0.1"
MEMBERSHIP = "envoy_cluster_membership_healthy"

Configuration = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Balancer:
    """An Envoy that runs.

    Attributes:
        process: of it.
        address: where clients go.
        stats: where Prometheus goes.
        admin: the port of its page of administration.
    """

    process: subprocess.Popen[bytes]
    address: str
    stats: str
    admin: int

    def figure(self, name: str) -> float:
        """The sum of a metric of the replicas' cluster, whatever else its labels are; 0 without."""
        _, text = _read(self.stats, "/metrics")
        line = re.compile(rf'^{name}{{.*envoy_cluster_name="replicas".*}} (\S+)$', re.MULTILINE)
        return sum(float(value) for value in line.findall(text))

    def await_replicas(self, number: int) -> None:
        """Wait until so many replicas are ready for it."""
        while self.figure(MEMBERSHIP) != number:
            if self.process.poll() is not None:
                raise RuntimeError(f"Envoy has ended with {self.process.returncode}")


def shipped() -> Configuration:
    """The configuration that ships."""
    read: Configuration = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    return read


def addressed(
    configuration: Configuration, replicas: Sequence[int], ports: Sequence[int]
) -> Configuration:
    """Put addresses of loopback into a configuration, in place of the containers'.

    Args:
        configuration: stays as it is.
        replicas: their ports.
        ports: for clients, for Prometheus, for administration.
    """
    changed = copy.deepcopy(configuration)
    service, stats = changed["static_resources"]["listeners"]
    of_replicas, of_admin = changed["static_resources"]["clusters"]
    places = (service, stats, changed["admin"])
    for place, port in zip(places, ports, strict=True):
        place["address"] = _address(port)
    _place(of_replicas, replicas)
    _place(of_admin, ports[2:])
    return changed


def _place(cluster: Configuration, ports: Sequence[int]) -> None:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]


def _address(port: int) -> Configuration:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


@contextmanager
def balancing(
    folder: Path,
    replicas: Sequence[int],
    configuration: Configuration | None = None,
    threads: int = 1,
) -> Iterator[Balancer]:
    """Run Envoy before replicas until the block is left.

    Args:
        folder: for its configuration and its log.
        replicas: ports of loopback, on which somebody listens or will listen.
        configuration: in place of the one that ships.
        threads: that serve connections.
    """
    ports = free_ports(3)
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(addressed(configuration or shipped(), replicas, ports)))
    command = [
        ENVOY,
        "--config-path",
        str(file),
        "--disable-hot-restart",
        "--concurrency",
        str(threads),
    ]
    with (
        (folder / "envoy.log").open("wb") as log,
        subprocess.Popen([*command, "--log-level", "warning"], stdout=log, stderr=log) as process,
    ):
        balancer = Balancer(process, *_urls(ports[:2]), ports[2])
        try:
            _await_start(balancer)
            yield balancer
        finally:
            process.kill()


def _urls(ports: Sequence[int]) -> tuple[str, str]:
    service, stats = (f"http://{LOOPBACK}:{port}" for port in ports)
    return service, stats


def _await_start(balancer: Balancer) -> None:
    while balancer.process.poll() is None:
        try:
            status, _ = _read(balancer.stats, "/ready")
        except OSError:
            continue
        if status == HTTPStatus.OK:
            return
    raise RuntimeError("Envoy does not start: its log, envoy.log, says why")


def _read(address: str, path: str) -> tuple[int, str]:
    """Ask for a page; this client begins in no time, where others first read certificates."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    with closing(connection):
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


def free_ports(number: int) -> list[int]:
    """Ports of loopback on which nobody listens, all of them different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in sockets]
