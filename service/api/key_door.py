"""Lets in who has an API key, before anything of a request but its head is looked at."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.context import context_of, path_of
from service.api.errors import service_error_response
from service.api.keys import Keys
from service.errors import Unauthorized

KEY_HEADER = "X-API-Key"
# Probes, which a cluster sends without a key; and the pages and their files, which hold no secret.
OPEN_PATHS = frozenset(
    {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/", "/docs", "/redoc"}
)
ADMIN = "sge.admin"  # in a scope: the name of the admin key by which it has been let in
OPEN_FOLDERS = ("/static/", "/docs/assets/")


class KeyDoor:
    """Refuses requests without a key, also those for paths that there are not.

    Args:
        app: gets the others, whose contexts hold the key's name.
        keys: that open it.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and ADMIN not in scope:
            try:
                self._require_key(scope)
            except Unauthorized as error:
                app = service_error_response(Request(scope), error)
        await app(scope, receive, send)

    def _require_key(self, scope: Scope) -> None:
        key = key_in(Headers(scope=scope))
        name = self._keys.name_of(key.encode("latin-1")) if key else None
        if name is not None:
            context_of(scope).key = name
        elif not is_open(path_of(scope)):
            raise Unauthorized(
                "this key is not known here"
                if key
                else f"a key is needed: Authorization: Bearer KEY, or {KEY_HEADER}: KEY"
            )


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def key_in(headers: Headers) -> str:
    """The key that a request brings, empty where it brings none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    bearer = value.strip() if scheme.lower() == "bearer" else ""
    return headers.get(KEY_HEADER, "").strip() or bearer
