"""The routes of the Open Inference Protocol; what is shown and run is `views.py`'s."""

from __future__ import annotations

import functools
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.admitted_request import AdmittedRequest, admit
from service.api.bodies import BodyLimits, receive_body
from service.api.bounded_route import BoundedRoute
from service.api.cancellation import off_the_loop, unless_disconnected
from service.api.context import RuntimeOf, context_of
from service.api.documentation import DeadlineMs, Priority
from service.api.health import is_answering, readiness
from service.api.parsing import ParsingLanes
from service.api.timing import report_phases, server_timing
from service.api.v2.admittance import take_in
from service.api.v2.documentation import (
    EVERY_ROUTE,
    INFER,
    MODEL_HEALTH,
    NO_MODEL,
    NO_ROOM,
    NOT_READY,
    HeaderLength,
    LiveBody,
    ModelReadyBody,
    ReadyBody,
)
from service.api.v2.documents import describe_config, describe_model, describe_server
from service.api.v2.messages import HEADER_LENGTH, parse_request
from service.api.v2.paths import MODEL, VERSION, NamedOf, ViewOf
from service.api.v2.replies import encode_reply, is_quick
from service.api.v2.requests import InferRequest
from service.api.v2.tensors import Values
from service.api.v2.views import View, draw_view, name_of

router = APIRouter(
    tags=["Open Inference Protocol"], route_class=BoundedRoute, responses=EVERY_ROUTE
)


@router.get("/v2", summary="Describe the server", responses=NO_ROOM)
async def server(runtime: RuntimeOf) -> dict[str, Any]:
    """Return the server's name, its version and the extensions that work."""
    return describe_server(runtime.settings)


@router.get("/v2/health/live", summary="Is the process alive?")
async def live() -> LiveBody:
    """Answer 200 as long as the event loop turns."""
    return LiveBody(live=True)


@router.get(
    "/v2/health/ready",
    summary="Can every model answer?",
    response_model=ReadyBody,
    responses=NOT_READY,
)
async def ready(runtime: RuntimeOf) -> Response:
    """Answer 200 when requests may be sent here, else 503."""
    is_ready = readiness(runtime.models, runtime.admission)["ready"]
    return _health(ReadyBody(ready=is_ready), is_ready=is_ready)


@router.get(MODEL, summary="Describe a model's tensors", responses=NO_MODEL)
@router.get(VERSION, summary="Describe a version's tensors", responses=NO_MODEL)
async def metadata(runtime: RuntimeOf, view: ViewOf) -> dict[str, Any]:
    """Return a model's versions, inputs and outputs; -1 stands for the batch."""
    return describe_model(view, runtime.models)


@router.get(f"{MODEL}/ready", summary="Can a model answer?", **MODEL_HEALTH)
@router.get(f"{VERSION}/ready", summary="Can a version answer?", **MODEL_HEALTH)
async def model_ready(runtime: RuntimeOf, view: ViewOf) -> Response:
    """Answer 200 when an engine answers for the model, else 503."""
    is_ready = is_answering(view.model, runtime.admission)
    return _health(ModelReadyBody(name=name_of(view), ready=is_ready), is_ready=is_ready)


@router.get(f"{MODEL}/config", summary="Return a model's configuration", responses=NO_MODEL)
@router.get(f"{VERSION}/config", summary="Return a version's configuration", responses=NO_MODEL)
async def config(runtime: RuntimeOf, view: ViewOf) -> dict[str, Any]:
    """Return the configuration as Triton's clients read it."""
    return describe_config(view, runtime.settings)


@router.post(f"{MODEL}/infer", summary="Run a model", **INFER)
@router.post(f"{VERSION}/infer", summary="Run a version", **INFER)
async def infer(
    request: Request,
    runtime: RuntimeOf,
    named: NamedOf,
    inference_header_content_length: HeaderLength = None,
    *,
    x_request_deadline_ms: DeadlineMs = None,
    x_request_priority: Priority = 0,
) -> Response:
    """Run one request: JSON with lists, JSON with raw tensors behind it, or one raw tensor alone.

    The example is for the view of pictures, `NAME-image`. The body may be compressed with gzip or
    deflate, as its `Content-Encoding` says.
    """
    context = context_of(request.scope)
    view = draw_view(
        runtime.models, named.name, named.version
    )  # and let in at once, before it may leave
    context.model = view.model.metric_labels
    # It may leave: nothing is waited for before the request is let in, and it stays till then.
    async with admit(
        runtime, context, view.model, x_request_deadline_ms, x_request_priority
    ) as admitted:
        limits = BodyLimits.of(runtime.settings)
        wanted = await _receive(request, view, limits, admitted, inference_header_content_length)
        take_in(admitted, wanted, view, runtime.settings)
        work = view.run(
            runtime.pipeline,
            wanted.images,
            admitted.deadline,
            priority=admitted.priority,
            trace=context.trace,
        )
        outcome = await unless_disconnected(request, work)
        timing_ms = report_phases(runtime.metrics, admitted, outcome.answer.phases_s)
        return await _respond(view, wanted, outcome.values, timing_ms)


async def _receive(
    request: Request,
    view: View,
    limits: BodyLimits,
    admitted: AdmittedRequest,
    header_length: str | None,
) -> InferRequest:
    """Read a request's body; nothing of it is held beside what is returned."""
    body = await receive_body(request, limits, admitted.permit)
    parse = functools.partial(
        parse_request, body, header_length, view.image, view.outputs, limits.images
    )
    lanes: ParsingLanes = request.app.state.lanes
    return await lanes.parse(parse, 0 if header_length == "0" else len(body))


def _health(body: BaseModel, *, is_ready: bool) -> Response:
    status = 200 if is_ready else 503
    return Response(body.model_dump_json(), status, media_type="application/json")


async def _respond(
    view: View, wanted: InferRequest, values: dict[str, Values], timing_ms: dict[str, float]
) -> Response:
    names = name_of(view), view.model.version
    encode = functools.partial(encode_reply, names, wanted, values, view.model.loaded.labels)
    reply = encode() if is_quick(values) else await off_the_loop(encode)
    headers = {"Server-Timing": server_timing(timing_ms)}
    if reply.json_bytes is None:
        return Response(reply.content, headers=headers, media_type="application/json")
    headers[HEADER_LENGTH] = str(reply.json_bytes)
    return Response(reply.content, headers=headers, media_type="application/octet-stream")
