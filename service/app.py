"""The application: wiring, start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig

from service import __version__
from service.api import operations, reference, v1
from service.api.documentation import describe_keys
from service.api.doors import surround
from service.api.entrance import Entrance, build_entrance
from service.api.errors import add_error_handlers
from service.api.v2 import repository, statistics
from service.api.v2 import routes as v2
from service.config import quiet_grpc
from service.errors import BadSetting, EngineFailed
from service.serving.runtime import Runtime

if TYPE_CHECKING:
    from service.api.v2.grpc.server import GrpcServer

log = structlog.stdlib.get_logger(__name__)

# FastAPI's own spans hold queries and its log records messages; ours hold neither.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
DESCRIPTION = """Classifies images with an attention-enhanced ResNet and returns, from the same
forward pass, where each channel group looks."""


def _refuse(error: BadSetting) -> None:
    raise error


@dataclass(frozen=True, slots=True)
class Hooks:
    """Whom to tell of the service's start; called on the event loop.

    Attributes:
        on_ready: every model answers, but for those that became broken versions.
        on_failure: no model's engine can run; the service is of no use.
        on_lost: the engine crashed later and cannot be brought back.
        on_built: nothing is being built any more.
        on_grpc: gRPC is served at an address.
        on_refused: gRPC cannot be served as it was to be, which ends the start by default.
    """

    on_ready: Callable[[], None] = lambda: None
    on_failure: Callable[[EngineFailed], None] = lambda _: None
    on_lost: Callable[[EngineFailed], None] = lambda _: None
    on_built: Callable[[], None] = lambda: None
    on_grpc: Callable[[str], None] = lambda _: None
    on_refused: Callable[[BadSetting], None] = _refuse


class KeyedFastAPI(FastAPI):
    """An application whose OpenAPI document says that clients need API keys."""

    def openapi(self) -> dict[str, Any]:
        """Make the document once."""
        if not self.openapi_schema:
            describe_keys(super().openapi())
        return super().openapi()


def create_app(runtime: Runtime, hooks: Hooks | None = None) -> FastAPI:
    """Build the application around a runtime.

    The models come up in the background once the application starts, so that it is alive, and
    says that it is not ready, from its first moment.

    Raises:
        BadSetting: there shall be API keys, and cannot.
    """
    hooks = hooks or Hooks()
    entrance = build_entrance(runtime)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        grpc = await _serve_grpc(runtime, entrance, hooks)
        runtime.decoder.start()
        starting = asyncio.get_running_loop().create_task(_start(runtime, hooks))
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if runtime.watch:
                await runtime.watch.stop()
            if grpc:
                await grpc.stop()
            await runtime.models.stop()
            runtime.workers.shutdown(wait=False, cancel_futures=True)
            runtime.decoder.stop()

    application = KeyedFastAPI if runtime.settings.api_keys_file else FastAPI
    app = application(
        title="SGE-Serve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
        docs_url=None,
        redoc_url=None,
        openapi_url=None if "docs" in runtime.settings.closed else "/openapi.json",
    )
    app.state.runtime = runtime
    app.state.lanes = entrance.lanes
    open_doors(app, runtime.settings.closed)
    add_error_handlers(app)
    surround(app, runtime, entrance)
    _prepare_routes(app)
    return app


def _prepare_routes(app: FastAPI) -> None:
    """Have FastAPI make now what it makes at the first request: 50 ms for a dozen routes."""
    nowhere = {"type": "http", "method": "GET", "path": "/-", "root_path": "", "headers": []}
    for route in app.routes:
        route.matches(nowhere)


def open_doors(app: FastAPI, closed: Collection[str]) -> None:
    """Add all routes but those of the doors that shall stay closed: to clients there are none."""
    if "statistics" not in closed:
        app.include_router(statistics.router)  # first: /v2/models/stats is no model
    for router in (v1.router, v2.router, repository.router, operations.router):
        app.include_router(router)
    if "metrics" not in closed:
        app.include_router(operations.metrics_router)
    if "page" not in closed:
        app.include_router(operations.page_router)
    if "docs" not in closed:
        app.include_router(reference.router)
        for path, folder in reference.find_assets().items():
            app.mount(path, StaticFiles(directory=folder))
    if not {"docs", "page"} <= set(closed):
        app.mount("/static", operations.PageFiles(directory=operations.WEB), name="static")


async def _serve_grpc(runtime: Runtime, entrance: Entrance, hooks: Hooks) -> GrpcServer | None:
    """Serve gRPC where it is to be served; what it needs is not everywhere."""
    if runtime.settings.grpc_port is None:
        return None
    quiet_grpc()
    from service.api.v2.grpc.server import GrpcServer

    try:
        server = GrpcServer(runtime, entrance)
        address = await server.start()
    except BadSetting as error:
        hooks.on_refused(error)
        return None
    hooks.on_grpc(address)
    return server


async def _start(runtime: Runtime, hooks: Hooks) -> None:
    try:
        await runtime.models.start(hooks.on_lost, hooks.on_built)
    except EngineFailed as error:
        log.exception("no engine runs", reason=error.message)
        hooks.on_failure(error)
    else:
        hooks.on_ready()
        if runtime.watch:
            runtime.watch.start()
