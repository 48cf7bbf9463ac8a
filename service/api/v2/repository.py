"""The protocol's repository: what is served and what is not, and how that is changed."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError

from service.api.admin_door import require_admin
from service.api.bodies import BodyLimits, receive_body
from service.api.bounded_route import BoundedRoute
from service.api.context import RuntimeOf
from service.api.json_cuts import first_fault
from service.api.v2 import changes
from service.api.v2.documentation import CHANGES, EVERY_ROUTE, NO_ROOM
from service.api.v2.documents import list_versions
from service.api.v2.messages import Head
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
    return list_versions(runtime.versions, ready=query.ready)


@router.post("/v2/repository/models/{name}/load", summary="Load a model", **CHANGES)
async def load(request: Request, runtime: RuntimeOf, name: str) -> Response:
    """Serve the versions that the store has by now, and answer once they do, or cannot.

    A client that leaves changes nothing of it.
    """
    require_admin(request)
    change = await _read(request, runtime, Change)
    await changes.load(runtime, name, change.parameters)
    return Response(status_code=200)


@router.post("/v2/repository/models/{name}/unload", summary="Unload a model", **CHANGES)
async def unload(request: Request, runtime: RuntimeOf, name: str) -> Response:
    """Serve a model no more until it is loaded again; what is inside is still answered."""
    require_admin(request)
    await _read(request, runtime, Change)
    changes.unload(runtime, name)
    return Response(status_code=200)


async def _read(request: Request, runtime: Runtime, kind: type[Body]) -> Body:
    """Read a small body of JSON, which may be empty."""
    limits = BodyLimits(BODY_BYTES, 1, runtime.settings.body_timeout_s)
    with runtime.admission.for_bytes() as permit:
        body = await receive_body(request, limits, permit)
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise first_fault(error) from error
