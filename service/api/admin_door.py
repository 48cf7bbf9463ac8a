"""Who may change what is served: the keys of operators, which open nothing else."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.context import context_of, path_of
from service.api.errors import service_error_response
from service.api.key_door import ADMIN, KEY_HEADER, key_in
from service.api.keys import Keys
from service.errors import AdminClosed, Unauthorized

ADMIN_PATHS = re.compile(r"/v2/repository/models/[^/]*/(load|unload)")


class AdminDoor:
    """Refuses changes without an admin key, before anything of them but their head is looked at.

    Args:
        app: gets the others, and what was let in.
        keys: that open it.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and ADMIN_PATHS.fullmatch(path_of(scope)):
            try:
                self._require_key(scope)
            except Unauthorized as error:
                app = service_error_response(Request(scope), error)
        await app(scope, receive, send)

    def _require_key(self, scope: Scope) -> None:
        key = key_in(Request(scope).headers)
        name = self._keys.name_of(key.encode("latin-1")) if key else None
        if name is None:
            raise Unauthorized(
                "this is no admin key"
                if key
                else f"an admin key is needed: Authorization: Bearer KEY, or {KEY_HEADER}: KEY"
            )
        context_of(scope).key = name
        scope[ADMIN] = name


def require_admin(request: Request) -> None:
    """Refuse a change where there is no door through which it could have come.

    Raises:
        AdminClosed: the service has no admin keys.
    """
    if ADMIN not in request.scope:
        raise AdminClosed(
            "models are loaded when the service starts, and later by who has a key of "
            "SGE_ADMIN_KEY_FILE, which is not set"
        )
