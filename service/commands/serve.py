"""`sge-serve serve`: run the service until it is told to stop."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from functools import partial

from service import __version__
from service.api.connections import raise_descriptor_limit
from service.api.last_resort import LastResort
from service.api.server import build_server
from service.app import Hooks, create_app
from service.commands.announcements import ready_lines, warn_of_others
from service.commands.beforehand import Start, hold_address, refused_address
from service.commands.contents import load_served, report_broken
from service.commands.memory import settle, tidy_up
from service.config import Settings
from service.engines.calibration import plan_with_pictures
from service.errors import BadSetting
from service.logs import configure_logs
from service.serving.memory_room import Memory
from service.serving.runtime import Runtime, build_runtime

Say = Callable[[str], None]

BACKLOG = 2048


def run(settings: Settings, start: Start, say: Say) -> int:
    """Serve until SIGTERM, SIGHUP or Ctrl-C, then finish what was accepted.

    Returns:
        0 after an orderly stop; 1 when accepted requests were cut, or the engine crashed and could
        not be brought back; 2 when the engine of no model runs. Where something hangs the process
        ends with 1 instead, within the drain's time and 2 s.

    Args:
        settings: what the operator decided.
        start: what was looked at, and taken, before.
        say: prints for whoever started the service.

    Raises:
        BadSetting: a setting cannot be met, or somebody else listens at the address by now.
        StoreError: no model can be served.
    """
    configure_logs(settings.log_level, settings.log_format)  # again, for torch's loggers
    raise_descriptor_limit()
    with start.listener:
        contents = load_served(settings, say)
        runtime = build_runtime(
            settings,
            contents,
            partial(plan_with_pictures, in_background=True),
            memory=Memory(tidy_up=tidy_up),
            tracer=start.tracer,
        )
        return serve(runtime, len(contents.broken), say, start.listener)


def serve(runtime: Runtime, told: int, say: Say, listener: socket.socket | None = None) -> int:
    """Serve what was put together; returns and raises what `run` does.

    Args:
        runtime: what to serve.
        told: so many broken versions were reported already.
        say: prints for whoever started the service.
        listener: holds the address; None: it is taken now.
    """
    settings = runtime.settings
    listener = _listen(listener or hold_address(settings.host, settings.port), settings)
    codes = [0]
    refusals: list[BadSetting] = []

    def end(code: int, reason: str) -> None:
        codes.append(code)
        say(reason)
        server.end()

    def refuse(error: BadSetting) -> None:
        refusals.append(error)
        server.end()

    def on_ready() -> None:
        settle()
        report_broken(runtime.models.broken[told:], say)
        say(ready_lines(runtime, address))

    hooks = Hooks(
        on_ready=on_ready,
        on_built=settle,
        on_failure=lambda error: end(2, f"no engine runs: {error.message}"),
        on_lost=lambda error: end(1, error.message),
        on_grpc=lambda address: say(f"gRPC at {address}"),
        on_refused=refuse,
    )
    last_resort = LastResort()
    server = build_server(create_app(runtime, hooks), runtime, last_resort)
    address = _address(listener, "https" if settings.tls_cert_file else "http")
    _announce(listener, address, settings, say)
    last_resort.start()
    server.run(sockets=[listener])
    if refusals:
        raise refusals[0]
    code = max(*codes, _tell_of_cut(server.cut_requests, say))
    if runtime.models.builder.is_busy:
        _leave_builds_behind(code)
    return code


def _tell_of_cut(requests: int, say: Say) -> int:
    """Say what was left without an answer, if anything was; returns what that makes of the code."""
    if requests:
        say(f"left {requests} accepted requests without an answer")
    return 1 if requests else 0


def _listen(listener: socket.socket, settings: Settings) -> socket.socket:
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise refused_address(settings.host, settings.port, error) from error
    return listener


def _announce(listener: socket.socket, address: str, settings: Settings, say: Say) -> None:
    say(f"sge-serve {__version__} starts at {address}")
    if not _is_loopback(listener):
        warn_of_others(settings, say)


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _address(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:  # every interface: loopback is one of them
        host = "::1" if ":" in host else "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}"


def _leave_builds_behind(code: int) -> None:
    """End the process while an engine is being built: a compiler cannot be interrupted."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
