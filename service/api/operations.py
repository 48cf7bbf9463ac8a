"""What operators and probes ask: alive, ready, metrics; and the page for people."""

from __future__ import annotations

from pathlib import Path

import orjson
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.api.context import RuntimeOf
from service.api.health import readiness

WEB = Path(__file__).parent.parent / "web"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer 200 as long as the event loop turns, whatever the models do."""
    return {"status": "alive"}


@router.get("/readyz", summary="Can every model answer?", responses={503: {"description": "no"}})
async def readyz(runtime: RuntimeOf) -> Response:
    """Answer 200 when requests may be sent here, else 503, with each model's engine and tier."""
    state = readiness(runtime.models, runtime.admission)
    status = 200 if state["ready"] else 503
    return Response(orjson.dumps(state), status, media_type="application/json")


@router.get("/metrics", summary="Measurements for Prometheus", response_class=Response)
async def metrics(runtime: RuntimeOf) -> Response:
    """Return every metric in Prometheus' text format."""
    return Response(generate_latest(runtime.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Return the page that shows predictions and masks in a browser."""
    return FileResponse(WEB / "index.html", headers=PAGE_HEADERS)
