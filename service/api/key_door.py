"""Lets in who has an API key, before anything of a request but its head is looked at."""

from __future__ import annotations

import abc

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


class Door(abc.ABC):
    """Looks at a request's key before anything of it but its head is looked at.

    Args:
        app: gets the requests that are let in, and those that the door does not guard.
        keys: that open it.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and self.guards(scope):
            key = key_in(Headers(scope=scope))
            name = name_in(self._keys, key)
            try:
                self.enter(scope, key, name)
            except Unauthorized as error:
                app = service_error_response(Request(scope), error)
        await app(scope, receive, send)

    @abc.abstractmethod
    def guards(self, scope: Scope) -> bool:
        """Whether a request needs to pass here."""

    @abc.abstractmethod
    def enter(self, scope: Scope, key: str, name: str | None) -> None:
        """Let a request in.

        Args:
            scope: the request's.
            key: that it brings, empty where it brings none.
            name: of the key; None where it is not known.

        Raises:
            Unauthorized: it stays outside.
        """


class KeyDoor(Door):
    """Refuses requests without a key, also those for paths that there are not.

    The contexts of those that are let in hold the key's name.
    """

    def guards(self, scope: Scope) -> bool:
        """All but those that came in by an admin key."""
        return ADMIN not in scope

    def enter(self, scope: Scope, key: str, name: str | None) -> None:
        """Let a request in that has a known key, or is for an open path."""
        if name is not None:
            context_of(scope).key = name
        elif not is_open(path_of(scope)):
            raise lacks_key(key)


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def lacks_key(key: str) -> Unauthorized:
    """What is said to a client with that key, empty for none, which opens nothing."""
    return Unauthorized(
        "this key is not known here"
        if key
        else f"a key is needed: Authorization: Bearer KEY, or {KEY_HEADER}: KEY"
    )


def name_in(keys: Keys, key: str) -> str | None:
    """The name of a key as a client sent it; None for one that is none."""
    return keys.name_of(key.encode("latin-1")) if key else None


def key_in(headers: Headers) -> str:
    """The key that a request brings, empty where it brings none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    bearer = value.strip() if scheme.lower() == "bearer" else ""
    return headers.get(KEY_HEADER, "").strip() or bearer
