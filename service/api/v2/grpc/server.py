"""The server: a port, what it bounds, its start and its end with the service."""

from __future__ import annotations

import asyncio
import time

import grpc
import structlog

from service.api.entrance import Entrance
from service.api.v2.grpc.credentials import find_credentials
from service.api.v2.grpc.health import Health
from service.api.v2.grpc.inference import Inference
from service.api.v2.grpc.methods import Method
from service.api.v2.grpc.open_inference_pb2 import DESCRIPTOR
from service.api.v2.grpc.places import ReadingPlaces
from service.api.v2.grpc.questions import Questions
from service.api.v2.grpc.service import Service
from service.api.v2.grpc.unread import UnreadReplies, hang_up
from service.config import Settings
from service.errors import BadSetting
from service.serving.runtime import Runtime

PROTOCOL = DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
HEALTH = "grpc.health.v1.Health"
FIRST_PIECE_BYTES = 65_535  # of a message that comes before it is read: HTTP/2's own default
QUESTIONS_AT_ONCE = 4  # that come in at a time; each takes microseconds
PROBES_AT_ONCE = 8  # of what needs no key
PROBE_TIMEOUT_S = 0.9  # for Kubernetes a probe that takes a second has failed
PROBE_PATIENCE_S = 0.1
IDENTITY = 1  # the one bit of compression algorithms that stands for none

log = structlog.stdlib.get_logger(__name__)


class GrpcServer:
    """Serves the protocol over gRPC; made and used on the event loop.

    Args:
        runtime: of the service.
        entrance: which it shares with the server of HTTP.

    Raises:
        BadSetting: the certificate cannot be read.
    """

    def __init__(self, runtime: Runtime, entrance: Entrance) -> None:
        settings = runtime.settings
        self._settings = settings
        self._admission = runtime.admission
        self._stopping = asyncio.Event()
        self._drained_by = 0.0
        self._draining: asyncio.Task[None] | None = None
        self._credentials = find_credentials(settings, runtime.metrics)
        unread = UnreadReplies(
            int(settings.unread_answers_mb * 1_000_000),
            settings.answer_timeout_s,
            hang_up,
            lambda reason: runtime.metrics.closed_connections.labels(reason).inc(),
        )
        methods = _methods_of(runtime, entrance, self._stopping)
        service = Service(
            methods,
            entrance,
            unread,
            runtime.metrics,
            stopping=self._stopping,
            tracer=runtime.tracer,
        )
        self._server = grpc.aio.server(
            handlers=[service],
            options=options_of(settings),
            maximum_concurrent_rpcs=settings.max_connections,
        )

    async def start(self) -> str:
        """Listen from now on; returns where.

        Raises:
            BadSetting: the address is taken.
        """
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.grpc_port}"
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            await self._server.stop(None)  # left to Python's end, its threads may abort the process
            raise BadSetting(
                f"cannot listen on SGE_HOST={settings.host} SGE_GRPC_PORT={settings.grpc_port}: "
                f"the address is taken, or none of this machine"
            ) from error
        await self._server.start()
        self._draining = asyncio.get_running_loop().create_task(self._note_drain())
        log.info("gRPC is served", address=f"{host}:{port}", tls=self._credentials is not None)
        return f"{host}:{port}"

    async def stop(self) -> None:
        """Accept nothing more, and cut what is not answered within the rest of the drain's time."""
        self._stopping.set()
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)
        await self._server.stop(max(0.0, self._drained_by - time.monotonic()))

    async def _note_drain(self) -> None:
        await self._admission.draining.wait()
        self._drained_by = time.monotonic() + self._settings.drain_timeout_s


def options_of(settings: Settings) -> list[tuple[str, int]]:
    """What gRPC is told to bound by itself."""
    head_ms = int(settings.head_timeout_s * 1000)
    head_bytes = int(settings.head_limit_kb * 1000)
    return [
        ("grpc.so_reuseport", 0),  # else two services would share a port, and nobody be told
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # One connection has half of all calls at most. gRPC refuses what a client begins beyond
        # (UNAVAILABLE), and counts calls a while after they have ended.
        ("grpc.max_concurrent_streams", max(1, settings.max_connections // 2)),
        ("grpc.max_receive_message_length", settings.body_limit_bytes),
        ("grpc.max_send_message_length", -1),  # replies are bounded before anything runs
        # Compressed messages would be inflated before anybody could bound what comes of them.
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY),
        ("grpc.http2.lookahead_bytes", FIRST_PIECE_BYTES),
        ("grpc.http2.bdp_probe", 0),  # it would let more come than that
        ("grpc.max_metadata_size", head_bytes),
        ("grpc.absolute_max_metadata_size", head_bytes),
        ("grpc.server_handshake_timeout_ms", head_ms),
        ("grpc.http2.settings_timeout", head_ms),
        ("grpc.max_connection_idle_ms", int(settings.keep_alive_s * 1000)),
        # Who watches and is no longer there would hold its place for ever.
        ("grpc.keepalive_time_ms", int(settings.keep_alive_s * 1000)),
        ("grpc.keepalive_timeout_ms", head_ms),
        ("grpc.http2.max_pings_without_data", 0),  # a watcher may hear nothing for days
        *_age_of(settings),
    ]


def _age_of(settings: Settings) -> list[tuple[str, int]]:
    """How old a connection gets: gRPC itself knows no age that stands for none."""
    if not settings.grpc_connection_age_s:
        return []
    return [
        ("grpc.max_connection_age_ms", max(1, int(settings.grpc_connection_age_s * 1000))),
        ("grpc.max_connection_age_grace_ms", settings.drain_timeout_s * 1000),
    ]


def _methods_of(runtime: Runtime, entrance: Entrance, stopping: asyncio.Event) -> dict[str, Method]:
    settings = runtime.settings
    at_once = settings.bodies_in_flight_bytes // settings.body_limit_bytes
    bodies = ReadingPlaces(at_once, settings.body_timeout_s)
    small = ReadingPlaces(QUESTIONS_AT_ONCE, settings.body_timeout_s)
    probes = ReadingPlaces(PROBES_AT_ONCE, PROBE_TIMEOUT_S, PROBE_PATIENCE_S)
    inference = Inference(runtime, entrance.lanes, bodies)
    health = Health(runtime, probes, frozenset({"", PROTOCOL}), stopping)
    methods = Questions(runtime, small, probes).methods()
    methods["ModelInfer"] = Method(inference.infer, is_prediction=True)
    return {
        **{f"/{PROTOCOL}/{name}": method for name, method in methods.items()},
        **{f"/{HEALTH}/{name}": method for name, method in health.methods().items()},
    }
