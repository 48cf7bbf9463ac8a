"""A method that clients may call: who may, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from service.api.admin_door import changes_are_closed, lacks_admin_key
from service.api.entrance import Entrance
from service.api.key_door import key_in, lacks_key, name_in
from service.api.v2.grpc.call import Call

Access = Literal["open", "clients", "admins"]


@dataclass(frozen=True, slots=True)
class Method:
    """A method.

    Attributes:
        run: gives the reply; None where it has sent its replies itself, over a longer time.
        access: who may call it: everybody, clients, or who may change what is served.
        is_prediction: whether it is counted as one.
        is_brief: whether it ends by itself.
    """

    run: Callable[[Call], Awaitable[bytes | None]]
    access: Access = "clients"
    is_prediction: bool = False
    is_brief: bool = True


def let_in(call: Call, access: Access, entrance: Entrance) -> None:
    """Let a call in whose key opens the method; its context then holds the key's name.

    Raises:
        Unauthorized: it stays outside.
        AdminClosed: nobody may change what is served.
    """
    key = key_in(call.headers)
    if access == "admins" and entrance.admin_keys is not None:
        name = name_in(entrance.admin_keys, key)
        if name is None:
            raise lacks_admin_key(key)
        call.context.key = name
        return
    if entrance.keys is not None:
        name = name_in(entrance.keys, key)
        if name is None and access != "open":
            raise lacks_key(key)
        call.context.key = name or ""
    if access == "admins":
        raise changes_are_closed()
