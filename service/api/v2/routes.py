"""The routes of the Open Inference Protocol; what is shown and run is `views.py`'s."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ValidationError

from service import __version__
from service.api.admitted_request import AdmittedRequest, admit
from service.api.bodies import BodyLimits, receive_body
from service.api.cancellation import off_the_loop, unless_disconnected
from service.api.context import RuntimeOf, context_of
from service.api.documentation import BINARY, EXAMPLE_PNG
from service.api.errors import error_response
from service.api.health import readiness
from service.api.timing import report_phases, server_timing
from service.api.v2.compression import inflate
from service.api.v2.messages import (
    HEADER_LENGTH,
    InferRequest,
    encode_reply,
    parse_request,
)
from service.api.v2.statistics import statistics_of
from service.api.v2.tensors import TensorSpec
from service.api.v2.views import View, every_view, find_view, name_of
from service.config import LONGEST_TIMEOUT_MS
from service.errors import BadRequest

PLATFORM = "sge_serve"
EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
CONFIG_TYPES = {
    "UINT8": "TYPE_UINT8",
    "INT32": "TYPE_INT32",
    "FP32": "TYPE_FP32",
    "BYTES": "TYPE_STRING",
}
MODEL = "/v2/models/{name}"
VERSION = "/v2/models/{name}/versions/{version}"

MOST_DEFLATED = 1032  # bytes of which deflate makes one, at best
QUICK_BYTES = 65_536  # of JSON, some 2 ms
INDEX_BYTES = 4096

INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["inputs"]},
                "example": {
                    "inputs": [
                        {
                            "name": "IMAGE",
                            "datatype": "BYTES",
                            "shape": [1, 1],
                            "data": [EXAMPLE_PNG],
                        }
                    ]
                },
            },
            "application/octet-stream": BINARY,
        },
    }
}

router = APIRouter(tags=["Open Inference Protocol"])


async def _view_of(runtime: RuntimeOf, name: str, version: str | None = None) -> View:
    return find_view(runtime.models, name, version)


ViewOf = Annotated[View, Depends(_view_of)]


class IndexQuery(BaseModel):
    """Which models an index lists."""

    ready: bool = False


@router.get("/v2", summary="Describe the server")
async def server() -> dict[str, Any]:
    """Return the server's name, its version and the extensions that work."""
    return {"name": "sge-serve", "version": __version__, "extensions": list(EXTENSIONS)}


@router.get("/v2/health/live", summary="Is the process alive?")
async def live() -> Response:
    """Answer 200 as long as the event loop turns."""
    return Response()


@router.get("/v2/health/ready", summary="Can every model answer?")
async def ready(runtime: RuntimeOf) -> Response:
    """Answer 200 when requests may be sent here, else 503."""
    return Response(
        status_code=200 if readiness(runtime.models, runtime.admission)["ready"] else 503
    )


@router.get("/v2/models/stats", summary="What every model has done")
async def every_statistics(runtime: RuntimeOf) -> dict[str, Any]:
    """Return the statistics of every view of every model."""
    views = every_view(runtime.models)
    return {"model_stats": [statistics_of(view, runtime.metrics) for view in views]}


@router.get(MODEL, summary="Describe a model's tensors")
@router.get(VERSION, summary="Describe a version's tensors")
async def metadata(runtime: RuntimeOf, view: ViewOf) -> dict[str, Any]:
    """Return a model's versions, inputs and outputs; -1 stands for the batch."""
    versions = runtime.models.versions(view.model.name)
    return {
        "name": name_of(view),
        "versions": [model.version for model in versions],
        "platform": PLATFORM,
        "inputs": [_metadata_of(view.image)],
        "outputs": [_metadata_of(spec) for spec in view.outputs],
    }


@router.get(f"{MODEL}/ready", summary="Can a model answer?")
@router.get(f"{VERSION}/ready", summary="Can a version answer?")
async def model_ready(runtime: RuntimeOf, view: ViewOf) -> Response:
    """Answer 200 when an engine answers for the model, else 503."""
    is_ready = view.model.is_ready and not runtime.admission.is_draining
    return Response(status_code=200 if is_ready else 503)


@router.get(f"{MODEL}/config", summary="Return a model's configuration")
@router.get(f"{VERSION}/config", summary="Return a version's configuration")
async def config(runtime: RuntimeOf, view: ViewOf) -> dict[str, Any]:
    """Return the configuration as Triton's clients read it."""
    settings = runtime.settings
    return {
        "name": name_of(view),
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"specific": {"versions": [int(view.model.version)]}},
        "max_batch_size": min(view.model.max_batch, settings.images_limit),
        "input": [
            {**_config_of(view.image), "format": _format_of(view.image)},
        ],
        "output": [_config_of(spec) for spec in view.outputs],
        "dynamic_batching": {"max_queue_delay_microseconds": int(settings.window_ms * 1000)},
    }


@router.get(f"{MODEL}/stats", summary="What a model has done")
@router.get(f"{VERSION}/stats", summary="What a version has done")
async def statistics(runtime: RuntimeOf, view: ViewOf) -> dict[str, Any]:
    """Return a model's statistics; its three views share them, as they share batches."""
    return {"model_stats": [statistics_of(view, runtime.metrics)]}


@router.post("/v2/repository/index", summary="List the models")
async def index(request: Request, runtime: RuntimeOf) -> list[dict[str, str]]:
    """Return every view of every version, with its state.

    The body may be empty, or `{"ready": true}` for those alone that are.
    """
    with runtime.admission.for_bytes() as permit:
        body = await receive_body(
            request, BodyLimits(INDEX_BYTES, 1, runtime.settings.body_timeout_s), permit
        )
    try:
        query = IndexQuery.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise BadRequest(f"body: {error.errors()[0]['msg'].lower()}") from error
    return [
        {
            "name": name_of(view),
            "version": view.model.version,
            "state": "READY" if view.model.is_ready else "UNAVAILABLE",
            "reason": "" if view.model.is_ready else view.model.tier,
        }
        for view in every_view(runtime.models)
        if view.model.is_ready or not query.ready
    ]


@router.post("/v2/repository/models/{name}/load", include_in_schema=False)
@router.post("/v2/repository/models/{name}/unload", include_in_schema=False)
async def change_models(request: Request, name: str) -> Response:
    """Refuse: models are what the store held when the service started."""
    message = f"{name!r}: models are loaded when the service starts, and not later"
    return error_response(request, 501, "unsupported", message)


@router.post(
    f"{MODEL}/infer", summary="Run a model", response_class=Response, openapi_extra=INFER_BODY
)
@router.post(
    f"{VERSION}/infer", summary="Run a version", response_class=Response, openapi_extra=INFER_BODY
)
async def infer(
    request: Request,
    runtime: RuntimeOf,
    view: ViewOf,
    inference_header_content_length: Annotated[
        str | None, Header(description="bytes of JSON before the raw tensors")
    ] = None,
    x_request_deadline_ms: Annotated[float | None, Header(gt=0, le=LONGEST_TIMEOUT_MS)] = None,
) -> Response:
    """Run one request: JSON with lists, JSON with raw tensors behind it, or one raw tensor alone.

    The example is for the view of pictures, `NAME-image`.
    """
    context = context_of(request.scope)
    context.model = view.model.metric_labels
    async with admit(runtime, context, view.model, x_request_deadline_ms) as admitted:
        limits = BodyLimits.of(runtime.settings)
        parsed = await _receive(request, view, limits, admitted, inference_header_content_length)
        if parsed.timeout_ms is not None:
            admitted.shorten(parsed.timeout_ms)
        limits.bound(len(parsed.images))
        admitted.hold(len(parsed.images))
        work = view.run(runtime.pipeline, parsed.images, admitted.deadline)
        outcome = await unless_disconnected(request, work)
        timing_ms = report_phases(runtime.metrics, admitted, outcome.answer.phases_s)
        return _respond(view, parsed, outcome.values, timing_ms)


async def _receive(
    request: Request,
    view: View,
    limits: BodyLimits,
    admitted: AdmittedRequest,
    header_length: str | None,
) -> InferRequest:
    """Read a request's body; nothing of it is held beside what is returned."""
    body = await receive_body(request, limits, admitted.permit)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        most = min(limits.size_bytes, MOST_DEFLATED * len(body))
        admitted.permit.hold(most)
        inflated = await off_the_loop(inflate, body, encoding, most)
        admitted.permit.release(most - len(inflated))
        body = inflated
    parse = functools.partial(
        parse_request, body, header_length, view.image, view.outputs, limits.images
    )
    is_quick = header_length == "0" or len(body) < QUICK_BYTES
    return parse() if is_quick else await off_the_loop(parse)


def _respond(
    view: View, parsed: InferRequest, values: dict[str, Any], timing_ms: dict[str, float]
) -> Response:
    names = name_of(view), view.model.version
    reply = encode_reply(names, parsed, values, view.model.loaded.labels)
    headers = {"Server-Timing": server_timing(timing_ms)}
    if reply.json_bytes is None:
        return Response(reply.content, headers=headers, media_type="application/json")
    headers[HEADER_LENGTH] = str(reply.json_bytes)
    return Response(reply.content, headers=headers, media_type="application/octet-stream")


def _metadata_of(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.dims]}


def _config_of(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": CONFIG_TYPES[spec.datatype], "dims": list(spec.dims)}


def _format_of(spec: TensorSpec) -> str:
    return "FORMAT_NCHW" if len(spec.dims) == 3 else "FORMAT_NONE"
