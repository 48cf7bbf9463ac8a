"""What can be wrong with a start is told before torch is imported, which takes seconds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from service.api.keys import find_admin_keys, find_keys
from service.api.tls import find_certificate
from service.commands.wanted import check_models
from service.config import Settings
from service.engines.driver import check_engine, find_installed
from service.errors import BadSetting
from service.logs import configure_logs
from service.metrics import Metrics
from service.store.files import folders_in
from service.tracing.start import find_tracer
from service.tracing.tracer import Tracer


@dataclass(frozen=True, slots=True)
class Start:
    """What a service has before it has a model.

    Attributes:
        listener: holds its address; nobody can connect yet.
        tracer: makes its spans.
    """

    listener: socket.socket
    tracer: Tracer


def prepare(settings: Settings, say: Callable[[str], None]) -> Start:
    """Look at what a service is told to use, and take its address.

    Raises:
        BadSetting: as `look_ahead` does; the address is taken, or spans cannot be made.
        StoreError: as `look_ahead` does.
    """
    configure_logs(settings.log_level, settings.log_format)  # libraries may warn of what they read
    look_ahead(settings, say)
    if settings.grpc_port:
        try_address(settings.host, settings.grpc_port, "SGE_GRPC_PORT")
    return Start(hold_address(settings.host, settings.port), find_tracer())


def look_ahead(settings: Settings, say: Callable[[str], None]) -> None:
    """Look for what a service is told to use, as far as that takes no time.

    Raises:
        BadSetting: keys or the certificate cannot be used, the default model is not in the store,
            or this machine lacks what an engine needs.
        StoreError: there is no store, or nothing in it to serve.
    """
    folders_in(settings.model_store)
    check_doors(settings)
    check_models(settings, say)
    check_engine(settings, find_installed())


def check_doors(settings: Settings) -> None:
    """Read keys and certificate as the service will, and keep nothing of them.

    Raises:
        BadSetting: they cannot be used.
    """
    metrics = Metrics(CollectorRegistry())
    find_keys(settings, metrics, time.monotonic)
    find_admin_keys(settings, metrics, time.monotonic)
    find_certificate(settings, metrics, time.monotonic)


def try_address(host: str, port: int, variable: str) -> None:
    """See whether an address can be had, and let go of it: gRPC takes no socket over.

    Raises:
        BadSetting: it is taken, or is none of this machine's.
    """
    with hold_address(host, port, variable) as listener:
        try:
            listener.listen(1)
        except OSError as error:  # two sockets may be bound to an address, and one may listen
            raise refused_address(host, port, error, variable) from error


def hold_address(host: str, port: int, variable: str = "SGE_PORT") -> socket.socket:
    """Take an address; whoever connects is refused until the socket listens.

    Args:
        host: its host.
        port: its port.
        variable: which sets the port.

    Raises:
        BadSetting: it is taken, or is none of this machine's.
    """
    is_v6 = ":" in host
    listener = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_v6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise refused_address(host, port, error, variable) from error
    return listener


def refused_address(host: str, port: int, error: OSError, variable: str = "SGE_PORT") -> BadSetting:
    """Why an address cannot be had."""
    return BadSetting(
        f"cannot listen on SGE_HOST={host} {variable}={port}: {error.strerror or error}"
    )
