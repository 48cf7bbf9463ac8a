"""Who may change what is served: the keys of operators, which open nothing else."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.types import Scope

from service.api.context import context_of, path_of
from service.api.key_door import ADMIN, KEY_HEADER, Door
from service.errors import AdminClosed, Unauthorized

ADMIN_PATHS = re.compile(r"/v2/repository/models/[^/]*/(load|unload)")


class AdminDoor(Door):
    """Refuses changes without an admin key."""

    def guards(self, scope: Scope) -> bool:
        """The paths of changes."""
        return ADMIN_PATHS.fullmatch(path_of(scope)) is not None

    def enter(self, scope: Scope, key: str, name: str | None) -> None:
        """Let a change in that has an admin key; its context holds the key's name."""
        if name is None:
            raise lacks_admin_key(key)
        context_of(scope).key = name
        scope[ADMIN] = name


def require_admin(request: Request) -> None:
    """Refuse a change where there is no door through which it could have come.

    Raises:
        AdminClosed: the service has no admin keys.
    """
    if ADMIN not in request.scope:
        raise changes_are_closed()


def lacks_admin_key(key: str) -> Unauthorized:
    """What is said to whoever comes with that key, empty for none, which changes nothing."""
    return Unauthorized(
        "this is no admin key"
        if key
        else f"an admin key is needed: Authorization: Bearer KEY, or {KEY_HEADER}: KEY"
    )


def changes_are_closed() -> AdminClosed:
    """What is said where nobody may change what is served."""
    return AdminClosed(
        "models are loaded when the service starts, and later by who has a key of "
        "SGE_ADMIN_KEY_FILE, which is not set"
    )
