"""`sge-serve serve`: run the service until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from service import __version__
from service.admission import Admission
from service.app import Hooks, create_app
from service.commands.contents import load_contents
from service.config import Settings, keep_artefacts_in
from service.errors import BadSetting, EngineFailed
from service.logs import configure_logs
from service.runtime import Runtime, build_runtime

Say = Callable[[str], None]

BACKLOG = 2048
TICK_S = 0.1  # how soon the drain notices its end or a second signal
SILENCE_S = 0.5  # a client that is about to use its connection again has done so by then
LONGEST_SILENCE = 6  # times that; clients that never fall silent are cut off
KEEP_ALIVE_S = 75  # longer than the 60 s of common load balancers, so that they close first


def run(settings: Settings, say: Say) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what was accepted.

    Returns:
        0 after an orderly stop, 1 when no engine runs or accepted requests were cut.

    Raises:
        BadSetting: the address is taken, or a setting cannot be met.
        StoreError: no model can be served.
    """
    configure_logs(settings.log_level, settings.log_format)
    keep_artefacts_in(settings.cache_dir)
    runtime = build_runtime(settings, load_contents(settings, say))
    listener = _listen(settings.host, settings.port)
    failures: list[EngineFailed] = []

    def on_failure(error: EngineFailed) -> None:
        failures.append(error)
        server.should_exit = True

    hooks = Hooks(lambda: say(_ready_lines(runtime, listener)), on_failure)
    config = uvicorn.Config(
        create_app(runtime, hooks),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_timeout_s,
    )
    server = DrainingServer(config, runtime.admission)
    say(f"sge-serve {__version__} starts at {_address(listener)}")
    server.run(sockets=[listener])
    if failures:
        say(f"no engine runs: {failures[0].message}")
    if server.cut_images:
        say(f"left {server.cut_images} accepted images without an answer")
    code = 1 if failures or server.cut_images else 0
    if runtime.models.is_building:
        _leave_builds_behind(code)
    return code


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which on a signal first answers everything that it has accepted.

    Meanwhile nobody new may connect, and requests on connections that are open are refused with
    503 and `Connection: close`, so that nobody is left without an answer. A second signal, or the
    end of the drain's time, cuts what is still inside.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission) -> None:
        super().__init__(config)
        self._admission = admission
        self.cut_images = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Drain at the first signal, leave at once at the second."""
        if self.should_exit:
            self.force_exit = True
        self._admission.drain()
        self.should_exit = True

    async def main_loop(self) -> None:
        """Run until told to stop, then until nothing is inside."""
        await super().main_loop()
        for listener in self.servers:
            listener.close()
        await self._answer_what_is_inside()
        await self._wait_for_silence()
        self.cut_images = self._admission.in_use
        self.force_exit |= self.cut_images > 0

    async def _answer_what_is_inside(self) -> None:
        ticks = int((self.config.timeout_graceful_shutdown or 0) / TICK_S)
        for _ in range(ticks):
            if self.force_exit or not self._admission.in_use:
                return
            await asyncio.sleep(TICK_S)

    async def _wait_for_silence(self) -> None:
        """Closing a connection on which a request is under way would reset it."""
        seen = -1
        for _ in range(LONGEST_SILENCE):
            if self.force_exit or not self.server_state.connections:
                return
            if self.server_state.total_requests == seen:
                return
            seen = self.server_state.total_requests
            await asyncio.sleep(SILENCE_S)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BadSetting(
            f"cannot listen on SGE_HOST={host} SGE_PORT={port}: {error.strerror or error}"
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:  # every interface: loopback is one of them
        host = "::1" if ":" in host else "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _ready_lines(runtime: Runtime, listener: socket.socket) -> str:
    address = _address(listener)
    model = next(iter(runtime.models))
    engine = model.engine
    named = "" if runtime.models.default else f"model={model.labels[0]}&"
    return f"""\
ready: {", ".join(model.bundle.key for model in runtime.models)} \
on the {engine.name} engine ({engine.precision}, {engine.device})
  page     {address}/
  docs     {address}/docs
  predict  curl -s {address}/static/example.png | curl -s --data-binary @- \
-H 'Content-Type: image/png' '{address}/v1/predict?{named}top_k=3&masks=last&groups=mean'"""


def _leave_builds_behind(code: int) -> None:
    """End the process while an engine is being built: a compiler cannot be interrupted."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
