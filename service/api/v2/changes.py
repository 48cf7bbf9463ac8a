"""Changes of what is served, as a client of the protocol asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from service.api.v2.views import VIEWS
from service.errors import BadRequest, Draining
from service.serving.admission import DRAIN_RETRY_S
from service.serving.runtime import Runtime


async def load(runtime: Runtime, name: str, parameters: Iterable[str]) -> None:
    """Serve the versions that the store has by now; returns once they answer.

    A client that leaves changes nothing of it.

    Args:
        runtime: of the service.
        name: of the model.
        parameters: names of those that the client sent, of which none has a meaning.

    Raises:
        BadRequest: there are some.
        UnknownModel: the store has no such model.
        NotLoaded: a version cannot be served.
        Draining: the service is stopping.
    """
    if override := next(iter(parameters), None):
        raise BadRequest(f"parameter {override!r}: what is loaded is what the store has")
    if runtime.admission.is_draining:
        raise Draining("the service is stopping", DRAIN_RETRY_S)
    await _until_changed(runtime, runtime.versions.load(_model_of(name, runtime)))


def unload(runtime: Runtime, name: str) -> None:
    """Serve a model no more until it is loaded again; what is inside is still answered.

    Raises:
        UnknownModel: it is not served.
    """
    runtime.versions.unload(_model_of(name, runtime))


def _model_of(name: str, runtime: Runtime) -> str:
    """The model of which a name is a view, as the index lists them."""
    known = {state.name for state in runtime.versions.states()}
    models = (name.removesuffix(kind.suffix) for kind in VIEWS)
    return next((model for model in (name, *models) if model in known), name)


async def _until_changed(runtime: Runtime, change: Coroutine[Any, Any, None]) -> None:
    """Wait for a change, which goes on without its client; a stopping service does not wait."""
    changing = runtime.models.spawn(change)
    draining = asyncio.ensure_future(runtime.admission.draining.wait())
    try:
        await asyncio.wait({changing, draining}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        draining.cancel()
        changing.add_done_callback(_see)
    if not changing.done():
        raise Draining("the service is stopping", DRAIN_RETRY_S)
    changing.result()


def _see(changing: asyncio.Task[None]) -> None:
    if not changing.cancelled():
        changing.exception()  # told in the log and the index; asyncio would log it once more
