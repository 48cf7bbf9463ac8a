"""The native API: predictions with masks, and what is being served."""

from __future__ import annotations

import functools
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.access import PREDICT_PATH
from service.api.admitted_request import AdmittedRequest, admit
from service.api.answer_document import encode_answer, has_drawn
from service.api.bodies import BodyLimits, read_images
from service.api.bounded_route import BoundedRoute
from service.api.cancellation import off_the_loop, unless_disconnected
from service.api.context import RuntimeOf, context_of
from service.api.documentation import (
    EVERY_ROUTE_BUT_PROBES,
    PREDICT_BODY,
    PREDICT_RESPONSES,
    DeadlineMs,
    Priority,
    errors_of,
)
from service.api.health import engine_state
from service.api.schemas import BlockBody, EngineBody, ModelBody, ModelsBody, ModelSummary
from service.api.timing import report_phases, server_timing
from service.config import Settings
from service.errors import BadRequest
from service.results.query import PredictQuery
from service.serving.options import Options, read_options
from service.serving.pipeline import Answer, Result
from service.serving.runtime import Runtime
from service.serving.served_model import ServedModel

router = APIRouter(tags=["native"], route_class=BoundedRoute, responses=EVERY_ROUTE_BUT_PROBES)


@router.post(
    PREDICT_PATH,
    summary="Classify images, with attention masks when asked",
    responses=PREDICT_RESPONSES,
    openapi_extra={"requestBody": PREDICT_BODY},
    response_class=Response,
)
async def predict(
    request: Request,
    query: Annotated[PredictQuery, Query()],
    runtime: RuntimeOf,
    *,
    x_request_deadline_ms: DeadlineMs = None,
    x_request_priority: Priority = 0,
) -> Response:
    """Return the most likely classes of each image, masks of blocks and evidence for classes.

    The body is an image's bytes, a multipart form with one or more files, or JSON with base64; it
    may be compressed with gzip or deflate, as its `Content-Encoding` says.
    Masks show where each channel group enhances the features; they do not say which pixels led
    to a class. An attribution does, at the positions of the last block: the mean of a class's map
    and its bias are its logit.
    """
    context = context_of(request.scope)
    model = runtime.models.draw(query.model, query.version)
    context.model = model.metric_labels
    options = read_options(query, model)
    settings = runtime.settings
    async with admit(
        runtime, context, model, x_request_deadline_ms, x_request_priority
    ) as admitted:
        files = await read_images(request, BodyLimits.of(settings), admitted.permit)
        admitted.hold(len(files))
        _bound_maps(options, model, len(files), settings)
        work = runtime.pipeline.answer(
            model,
            files,
            options,
            admitted.deadline,
            priority=admitted.priority,
            trace=context.trace,
        )
        answer = await unless_disconnected(request, work)
        return await _respond(runtime, admitted, answer)


@router.get("/v1/models", summary="List the models")
async def list_models(runtime: RuntimeOf) -> ModelsBody:
    """Return every model with its versions, oldest first."""
    models = runtime.models
    return ModelsBody(
        models=[
            ModelSummary(
                name=name,
                versions=[model.loaded.manifest.version for model in models.versions(name)],
                default=name == models.default,
            )
            for name in models.names
        ]
    )


@router.get("/v1/models/{name}", summary="Describe a model", responses=errors_of(404))
async def describe_model(
    request: Request, name: str, runtime: RuntimeOf, version: str | None = None
) -> ModelBody:
    """Return a version's labels, input contract, blocks, engine and measured figures."""
    model = runtime.models.find(name, version)
    context_of(request.scope).model = model.metric_labels
    manifest = model.loaded.manifest
    return ModelBody(
        name=manifest.name,
        version=manifest.version,
        versions=[other.loaded.manifest.version for other in runtime.models.versions(name)],
        architecture=manifest.architecture,
        labels=list(model.loaded.labels),
        input=manifest.input.model_dump(),
        blocks=[
            BlockBody(name=block.name, groups=block.groups, height=block.height, width=block.width)
            for block in model.blocks
        ],
        engine=EngineBody(**engine_state(model)),
        max_batch=model.max_batch,
        sge_inserted=manifest.sge_inserted,
        licence=manifest.licence,
        source=manifest.source,
        metrics=manifest.metrics,
    )


def _bound_maps(options: Options, model: ServedModel, images: int, settings: Settings) -> None:
    cost = options.cost(model)
    pictures, answer_mb = cost.pictures * images, cost.answer_bytes * images / 1e6
    if pictures > settings.mask_pictures:
        raise BadRequest(
            f"{pictures} pictures asked for, the limit is {settings.mask_pictures}: name fewer "
            f"blocks, groups or classes, or take mask_format json or npy"
        )
    if answer_mb > settings.answer_limit_mb:
        raise BadRequest(
            f"what is asked for takes {answer_mb:.3g} MB, the limit is "
            f"{settings.answer_limit_mb:g} MB: name fewer blocks, groups or classes, or send fewer "
            f"images"
        )


async def _respond(runtime: Runtime, admitted: AdmittedRequest, answer: Answer[Result]) -> Response:
    timing_ms = report_phases(runtime.metrics, admitted, answer.phases_s)
    head = {
        "model": {"name": admitted.model.name, "version": admitted.model.version},
        "request_id": admitted.context.request_id,
    }
    tail = {
        "timing_ms": timing_ms,
        "batch_size": answer.batch_size,
        "engine": answer.engine.name,
    }

    encode = functools.partial(encode_answer, head, answer.results, tail)
    has_maps = any(map(has_drawn, answer.results))  # up to megabytes of numbers
    content = await off_the_loop(encode) if has_maps else encode()
    headers = {"Server-Timing": server_timing(timing_ms)}
    return Response(content, headers=headers, media_type="application/json")
