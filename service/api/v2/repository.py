"""The protocol's repository: what is served and what is not, and how that is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError

from service.api.admin_door import require_admin
from service.api.bodies import BodyLimits, receive_body
from service.api.bounded_route import BoundedRoute
from service.api.context import RuntimeOf
from service.api.json_cuts import first_fault
from service.api.v2.documentation import CHANGES, EVERY_ROUTE, NO_ROOM
from service.api.v2.messages import Head
from service.api.v2.views import VIEWS
from service.errors import BadRequest, Draining
from service.serving.admission import DRAIN_RETRY_S
from service.serving.runtime import Runtime

BODY_BYTES = 4096

Body = TypeVar("Body", bound=Head)

router = APIRouter(
    tags=["Open Inference Protocol"], route_class=BoundedRoute, responses=EVERY_ROUTE
)


class IndexQuery(Head):
    """Which models an index lists."""

    ready: bool = False


class Change(Head):
    """How a model is loaded or unloaded: of what the protocol knows, nothing has a meaning here."""

    parameters: dict[str, Any] = Field(default_factory=dict)


@router.post("/v2/repository/index", summary="List the models", responses=NO_ROOM)
async def index(request: Request, runtime: RuntimeOf) -> list[dict[str, str]]:
    """Return every view of every version, with its state and why it does not answer.

    The body may be empty, or `{"ready": true}` for those alone that do.
    """
    query = await _read(request, runtime, IndexQuery)
    return [
        {
            "name": f"{version.name}{kind.suffix}",
            "version": version.version,
            "state": version.state,
            "reason": version.reason,
        }
        for version in runtime.versions.states()
        for kind in VIEWS
        if version.state == "READY" or not query.ready
    ]


@router.post("/v2/repository/models/{name}/load", summary="Load a model", **CHANGES)
async def load(request: Request, runtime: RuntimeOf, name: str) -> Response:
    """Serve the versions that the store has by now, and answer once they do, or cannot.

    A client that leaves changes nothing of it.
    """
    require_admin(request)
    change = await _read(request, runtime, Change)
    if override := next(iter(change.parameters), None):
        raise BadRequest(f"parameter {override!r}: what is loaded is what the store has")
    if runtime.admission.is_draining:
        raise Draining("the service is stopping", DRAIN_RETRY_S)
    return await _changed(runtime, runtime.versions.load(_model_of(name, runtime)))


@router.post("/v2/repository/models/{name}/unload", summary="Unload a model", **CHANGES)
async def unload(request: Request, runtime: RuntimeOf, name: str) -> Response:
    """Serve a model no more until it is loaded again; what is inside is still answered."""
    require_admin(request)
    await _read(request, runtime, Change)
    runtime.versions.unload(_model_of(name, runtime))
    return Response(status_code=200)


def _model_of(name: str, runtime: Runtime) -> str:
    """The model of which a name is a view, as the index lists them."""
    known = {state.name for state in runtime.versions.states()}
    models = (name.removesuffix(kind.suffix) for kind in VIEWS)
    return next((model for model in (name, *models) if model in known), name)


async def _read(request: Request, runtime: Runtime, kind: type[Body]) -> Body:
    """Read a small body of JSON, which may be empty."""
    limits = BodyLimits(BODY_BYTES, 1, runtime.settings.body_timeout_s)
    with runtime.admission.for_bytes() as permit:
        body = await receive_body(request, limits, permit)
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise first_fault(error) from error


async def _changed(runtime: Runtime, change: Coroutine[Any, Any, None]) -> Response:
    """Wait for a change, which goes on without its client; a stopping service does not wait."""
    changing = runtime.models.spawn(change)
    draining = asyncio.ensure_future(runtime.admission.draining.wait())
    try:
        await asyncio.wait({changing, draining}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        draining.cancel()
        changing.add_done_callback(_see)
    if not changing.done():
        raise Draining("the service is stopping", DRAIN_RETRY_S)
    changing.result()
    return Response(status_code=200)


def _see(changing: asyncio.Task[None]) -> None:
    if not changing.cancelled():
        changing.exception()  # told in the log and the index; asyncio would log it once more
