"""What stands around the application: the path, hosts and origins of requests, and HEAD."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.access import SECURITY, RequestScope
from service.api.admin_door import AdminDoor
from service.api.context import ERROR_CODE_HEADER, REQUEST_ID_HEADER, path_of
from service.api.early_refusal import EarlyRefusal
from service.api.entrance import Entrance
from service.api.errors import ADMISSION_CODES, OUTCOMES, service_error_response
from service.api.key_door import KeyDoor
from service.errors import UnknownHost
from service.serving.runtime import Runtime

PROBED_BY_ADDRESS = frozenset({"/healthz", "/readyz"})  # a cluster knows no name for them
EXPOSED = (
    *(REQUEST_ID_HEADER, ERROR_CODE_HEADER),
    *("Retry-After", "Server-Timing", "Inference-Header-Content-Length"),
)


def surround(app: FastAPI, runtime: Runtime, entrance: Entrance) -> None:
    """Put around an application what is not the application; the outermost comes last."""
    settings = runtime.settings
    models = [model.metric_labels for model in runtime.models]
    runtime.metrics.expect_outcomes(models, OUTCOMES, sorted(ADMISSION_CODES))
    app.add_middleware(EarlyRefusal, runtime=runtime)
    if settings.allowed_hosts:
        app.add_middleware(AllowedHosts, names=settings.allowed_hosts)
    if entrance.keys:
        app.add_middleware(KeyDoor, keys=entrance.keys)
    if entrance.admin_keys:
        app.add_middleware(AdminDoor, keys=entrance.admin_keys)
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        RequestScope,
        admission=runtime.admission,
        metrics=runtime.metrics,
        watch=entrance.watch,
        tracer=runtime.tracer,
    )
    if settings.cors_origins:
        app.add_middleware(
            CrossOrigin,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    if settings.root_path:
        app.add_middleware(RootPath, root_path=settings.root_path)


class CrossOrigin(CORSMiddleware):
    """Answers preflights, which nothing else sees, with the headers of every answer."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer one."""
        response = super().preflight_response(request_headers)
        response.raw_headers.extend(SECURITY.items())
        return response


class RootPath:
    """Serves everything under a path, whether a proxy has taken that away or not."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            scope = {**scope, "root_path": self._root, "path": self._under_root(scope["path"])}
        await self._app(scope, receive, send)

    def _under_root(self, path: str) -> str:
        if path == self._root:
            return f"{path}/"
        return path if path.startswith(f"{self._root}/") else f"{self._root}{path}"


class AllowedHosts:
    """Refuses requests for other names: those of a page that lies about where it is from.

    Args:
        app: gets the others.
        names: without a port; `*.example.com` stands for every name below.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        lower = [name.lower() for name in names]
        self._names = frozenset(lower)
        self._ends = tuple(name.removeprefix("*") for name in lower if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and path_of(scope) not in PROBED_BY_ADDRESS:
            name = _name_of(Headers(scope=scope).get("host", ""))
            if not self._allows(name):
                error = UnknownHost(f"the service does not answer to the host name {name!r}")
                app = service_error_response(Request(scope), error)
        await app(scope, receive, send)

    def _allows(self, name: str) -> bool:
        return name in self._names or name.endswith(self._ends)


def _name_of(host: str) -> str:
    """The name in `name:port` or `[address]:port`."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0].lower()


class HeadAsGet:
    """Answers HEAD with the head of what GET would be answered with."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_head)
