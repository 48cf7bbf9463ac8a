"""The paths of models and their versions, and the view that such a path names."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import Depends

from service.api.context import RuntimeOf
from service.api.v2.views import View, find_view

MODEL = "/v2/models/{name}"
VERSION = "/v2/models/{name}/versions/{version}"


async def _view_of(runtime: RuntimeOf, name: str, version: str | None = None) -> View:
    return find_view(runtime.models, name, version)


class Named(NamedTuple):
    """What a path names."""

    name: str
    version: str | None


async def _named(name: str, version: str | None = None) -> Named:
    return Named(name, version)


NamedOf = Annotated[Named, Depends(_named)]
ViewOf = Annotated[View, Depends(_view_of)]
