"""The reference of the API as pages, which work without the internet."""

from __future__ import annotations

import contextlib
import importlib.resources
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.api.operations import page_of

ASSETS = "fastapi_offline", "static"  # a package that brings the files of Swagger UI and ReDoc
# They write their own styles and pictures into the page.
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; base-uri 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
}

router = APIRouter(include_in_schema=False)


def find_assets() -> dict[str, Path]:
    """The folder of the files that the pages load, by its path; none where they are missing."""
    package, folder = ASSETS
    with contextlib.suppress(ModuleNotFoundError):
        return {"/docs/assets": Path(str(importlib.resources.files(package) / folder))}
    return {}


@router.get("/docs")
def swagger(request: Request) -> Response:
    """Return the reference as Swagger UI, from which requests can be sent."""
    return _page_of(request, "docs.html")


@router.get("/redoc")
def redoc(request: Request) -> Response:
    """Return the reference as ReDoc."""
    return _page_of(request, "redoc.html")


def _page_of(request: Request, name: str) -> Response:
    response = page_of(request, name)
    response.headers.update(POLICY)
    return response
