"""How much of the machine client and server use."""

from __future__ import annotations

import ipaddress
import platform
import socket
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import psutil

PRECEDENCE = -10  # as nice counts: 0 is usual, -20 the most


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Processor seconds used so far.

    Attributes:
        client_s: by this process.
        server_s: by the server and its children; None where the server cannot be seen from here.
    """

    client_s: float
    server_s: float | None


def take_precedence() -> bool:
    """Let this process run before others that want the same core, where the system lets it.

    A client that shares its machine with the service uses little of a core but has to be there in
    time: what it waits for one would count as the service's.

    Returns:
        Whether it does; it takes a right that few users have.
    """
    try:
        psutil.Process().nice(PRECEDENCE)
    except psutil.AccessDenied:
        return False
    return True


class CpuMeter(Protocol):
    """Tells how much processor time has been used."""

    def read(self) -> CpuTimes:
        """Read it now."""


class ProcessMeter:
    """Reads this process and, where it runs here, the server's.

    Args:
        server: process id of the server, if known.
    """

    def __init__(self, server: int | None) -> None:
        self._client = psutil.Process()
        self._server = psutil.Process(server) if server else None

    def read(self) -> CpuTimes:
        """Read both; a child that has ended is counted no more."""
        if self._server is None:
            return CpuTimes(_seconds(self._client), None)
        family = [self._server, *self._server.children(recursive=True)]
        return CpuTimes(_seconds(self._client), sum(map(_seconds, family)))


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def find_server(url: str) -> int | None:
    """Find the process that listens at an address of this machine; None where it cannot be."""
    parts = urlsplit(url)
    if not _is_here(parts.hostname or ""):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        listening = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # other people's processes, on some systems
        return None
    return next(
        (
            row.pid
            for row in listening
            if row.status == psutil.CONN_LISTEN and row.laddr and row.laddr.port == port
        ),
        None,
    )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"localhost", socket.gethostname()}


def describe_machine() -> dict[str, str | int]:
    """What a reader of figures must know of the machine that the client ran on."""
    return {
        "processor": _processor() or platform.processor() or platform.machine(),
        "cores": psutil.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
        "niceness": psutil.Process().nice(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # no regular file
            return next(
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return ""
