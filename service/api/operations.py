"""What operators and probes ask: alive, ready, metrics; and the pages for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from service.api.bounded_route import BoundedRoute
from service.api.cancellation import off_the_loop
from service.api.context import RuntimeOf
from service.api.documentation import EVERY_ROUTE, NOT_READY
from service.api.exposition import OPEN_METRICS, PLAIN, write_metrics
from service.api.health import readiness
from service.api.schemas import ReadinessBody

WEB = Path(__file__).parent.parent / "web"

router = APIRouter(tags=["operations"], route_class=BoundedRoute, responses=EVERY_ROUTE)
metrics_router = APIRouter(tags=["operations"], route_class=BoundedRoute, responses=EVERY_ROUTE)
page_router = APIRouter(include_in_schema=False)


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer 200 as long as the event loop turns, whatever the models do."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="Can every model answer?",
    response_model=ReadinessBody,
    responses=NOT_READY,
)
async def readyz(runtime: RuntimeOf) -> Response:
    """Answer 200 when requests may be sent here, else 503, with each model's engine and tier."""
    state = readiness(runtime.models, runtime.admission)
    status = 200 if state["ready"] else 503
    return Response(orjson.dumps(state), status, media_type="application/json")


@metrics_router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses={
        200: {
            "content": {
                PLAIN: {"schema": {"type": "string"}},
                OPEN_METRICS: {"schema": {"type": "string"}},
            }
        }
    },
)
async def metrics(request: Request, runtime: RuntimeOf) -> Response:
    """Return every metric in Prometheus' text format or, where `Accept` names it, OpenMetrics.

    OpenMetrics alone has exemplars: by them a slow request of a histogram leads to its trace.
    """
    accept = request.headers.getlist("accept")
    # Of ten models it is 2,000 lines, which would hold the event loop up for tens of milliseconds.
    text, media_type = await off_the_loop(write_metrics, runtime.metrics.registry, accept)
    return Response(text, media_type=media_type)


@page_router.get("/")
def page(request: Request) -> Response:
    """Return the page that shows in a browser what the model saw, and where."""
    response = page_of(request, "index.html")
    response.headers["Permissions-Policy"] = "camera=(self), geolocation=(), microphone=()"
    return response


def page_of(request: Request, name: str) -> Response:
    """Read a page, whose addresses are those below the root path."""
    text = (WEB / name).read_text(encoding="utf-8")
    root = request.scope.get("root_path", "")
    return HTMLResponse(text.replace('<base href="/">', f'<base href="{root}/">'))


class PageFiles(StaticFiles):
    """Files of which a browser asks whether they changed, so that two releases never mix."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Answer one."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
