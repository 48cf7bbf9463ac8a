"""The native API: predictions with masks, and what is being served."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.api.access import PREDICT_PATH
from service.api.bodies import BodyLimits, read_images
from service.api.context import RequestContext, RuntimeOf, context_of
from service.api.documentation import PREDICT_BODY, PREDICT_RESPONSES
from service.api.schemas import BlockBody, EngineBody, ModelBody, ModelsBody, ModelSummary
from service.config import LONGEST_DEADLINE_MS, Settings
from service.errors import BadRequest, DeadlineExceeded
from service.health import engine_state
from service.masks import MaskRequest, count_pictures
from service.pipeline import Answer, read_options
from service.query import PredictQuery
from service.runtime import Runtime
from service.served_model import ServedModel

T = TypeVar("T")

# Timers count in milliseconds, and the queue shall be the first to see that a deadline has come:
# it counts the images that expire.
TIMER_SLACK_S = 0.005

router = APIRouter(tags=["native"])


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
    x_request_deadline_ms: Annotated[
        float | None,
        Header(
            gt=0,
            le=LONGEST_DEADLINE_MS,
            description="for how many milliseconds the answer is of use",
            examples=[2000],
        ),
    ] = None,
) -> Response:
    """Return the most likely classes of each image and the masks of the asked blocks.

    The body is an image's bytes, a multipart form with one or more files, or JSON with base64.
    Masks show where each channel group enhances the features; they do not say which pixels led
    to a class.
    """
    context = context_of(request.scope)
    model = runtime.models.find(query.model, query.version)
    context.model = model.labels
    options = read_options(query, model)
    limit_ms = x_request_deadline_ms or runtime.settings.default_deadline_ms
    deadline = context.began + limit_ms / 1000
    model.require_ready()
    with runtime.admission.enter(deadline, model.batcher.pace_s) as permit:
        settings = runtime.settings
        try:
            async with asyncio.timeout(deadline - time.monotonic() + TIMER_SLACK_S):
                files = await read_images(request, _body_limits(settings), permit)
                context.images = len(files)
                permit.grow(len(files) - 1)
                _bound_pictures(options.masks, model, len(files), settings.mask_pictures)
                work = runtime.pipeline.answer(model, files, options, deadline)
                answer = await _unless_disconnected(request, work)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit_ms:g} ms") from error
        return await _respond(runtime, context, model, answer)


@router.get("/v1/models", summary="List the models")
async def list_models(runtime: RuntimeOf) -> ModelsBody:
    """Return every model with its versions, oldest first."""
    models = runtime.models
    return ModelsBody(
        models=[
            ModelSummary(
                name=name,
                versions=[model.bundle.manifest.version for model in models.versions(name)],
                default=name == models.default,
            )
            for name in models.names
        ]
    )


@router.get("/v1/models/{name}", summary="Describe a model")
async def describe_model(
    request: Request, name: str, runtime: RuntimeOf, version: str | None = None
) -> ModelBody:
    """Return a version's labels, input contract, blocks, engine and measured figures."""
    model = runtime.models.find(name, version)
    context_of(request.scope).model = model.labels
    manifest = model.bundle.manifest
    return ModelBody(
        name=manifest.name,
        version=manifest.version,
        versions=[other.bundle.manifest.version for other in runtime.models.versions(name)],
        architecture=manifest.architecture,
        labels=list(model.bundle.labels),
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


def _body_limits(settings: Settings) -> BodyLimits:
    return BodyLimits(settings.body_limit_bytes, settings.images_limit, settings.body_timeout_s)


def _bound_pictures(masks: MaskRequest, model: ServedModel, images: int, limit: int) -> None:
    pictures = count_pictures(masks, model.bundle.manifest.groups) * images
    if pictures > limit:
        raise BadRequest(
            f"{pictures} mask pictures asked for, the limit is {limit}: name fewer blocks or "
            f"groups, or take mask_format json or npy"
        )


async def _unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work; stop it when the client hangs up meanwhile.

    Raises:
        ClientDisconnect: the client hung up.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    """Wait until the client hangs up; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _respond(
    runtime: Runtime, context: RequestContext, model: ServedModel, answer: Answer
) -> Response:
    for phase, seconds in answer.phases_s.items():
        runtime.metrics.phase.labels(*model.labels, phase).observe(seconds)
    phases_s = {**answer.phases_s, "total": time.monotonic() - context.began}
    timing_ms = {phase: round(seconds * 1000, 3) for phase, seconds in phases_s.items()}
    body = {
        "model": {"name": model.labels[0], "version": model.labels[1]},
        "request_id": context.request_id,
        "results": [
            {
                "predictions": result.predictions,
                **({"masks": result.masks} if result.masks else {}),
            }
            for result in answer.results
        ],
        "timing_ms": timing_ms,
        "batch_size": answer.batch_size,
        "engine": answer.engine.name,
    }
    headers = {"Server-Timing": ", ".join(f"{phase};dur={ms}" for phase, ms in timing_ms.items())}
    encode = functools.partial(orjson.dumps, body, option=orjson.OPT_SERIALIZE_NUMPY)
    has_masks = any(result.masks for result in answer.results)  # up to megabytes of numbers
    content = await run_in_threadpool(encode) if has_masks else encode()
    return Response(content, headers=headers, media_type="application/json")
