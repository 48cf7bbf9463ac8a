"""The way of a request behind HTTP: encoded images in, results out."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from service.engines.base import EngineDescription, Row
from service.errors import BadInput, EngineFailed
from service.metrics import Phase
from service.results.attribution import Attribution, AttributionRequest, attribute
from service.results.heat_map import draw_image
from service.results.masks import Mask, draw_mask
from service.results.predictions import Prediction, Scores, scores_of, top_k
from service.serving.decode_workers import Decoder
from service.serving.entry import Reply
from service.serving.options import Options
from service.serving.served_model import ServedModel
from service.serving.turns import DEFAULT_PRIORITY
from service.tracing.request_trace import UNTRACED, RequestTrace

File = bytes | Callable[[], bytes]
"""An encoded image, or what reads it, as soon as a decoder is free for it."""

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """What one image gets.

    Attributes:
        predictions: best first.
        masks: one a block that was asked for, in the network's order.
        attribution: where it was asked for.
        input: a PNG file of the model's pixels, where it was asked for.
    """

    predictions: list[Prediction]
    masks: list[Mask]
    attribution: Attribution | None = None
    input: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """What one request gets, and where its time went.

    Attributes:
        results: one per image, in the request's order.
        phases_s: seconds of decode (of pictures), queue, infer and postprocess; of several images
            the longest.
        batch_size: images in the batch; of several batches the largest.
        engine: what ran the last image.
    """

    results: list[R]
    phases_s: dict[Phase, float]
    batch_size: int
    engine: EngineDescription


class Pipeline:
    """Takes images through every stage; lives on the event loop.

    Args:
        workers: threads that wait for decoders, and draw.
        decoder: turns files into pixels.
    """

    def __init__(self, workers: Executor, decoder: Decoder) -> None:
        self._workers = workers
        self._decoder = decoder

    async def answer(
        self,
        model: ServedModel,
        files: Sequence[File],
        options: Options,
        deadline: float,
        *,
        priority: int = DEFAULT_PRIORITY,
        trace: RequestTrace = UNTRACED,
    ) -> Answer[Result]:
        """Answer every image of a request, or none.

        Cancelling it takes the images out of the queue.

        Args:
            model: answers.
            files: encoded images.
            options: of the request.
            deadline: a moment of `time.monotonic`.
            priority: their class, 1 the most important.
            trace: of the request, on which phases are noted.

        Raises:
            BadInput: an image cannot be decoded; of several, its position is named.
            DeadlineExceeded: the queue could not make the deadline.
            EngineFailed: the model failed on one of the images.
        """
        began = time.monotonic()
        trace.enter("decode", began)
        rows = await _all_or_none(
            [
                self._on_worker(self._prepare, model, files, position)
                for position in range(len(files))
            ]
        )
        decoded = time.monotonic()
        queued = model.batcher.submit(rows, options.extras, deadline, priority, trace)
        replies = await _until_answered(queued, model, trace)
        inferred = time.monotonic()
        try:
            results = await self._finish(model, rows, replies, options)
        except EngineFailed as error:
            model.account.on_failure(error, [trace])
            raise
        return _answer(results, replies, decode_s=decoded - began, inferred=inferred)

    async def score(
        self,
        model: ServedModel,
        rows: Sequence[Row],
        deadline: float,
        *,
        priority: int = DEFAULT_PRIORITY,
        trace: RequestTrace = UNTRACED,
    ) -> Answer[Scores]:
        """Give the probability of every class of images that are pixels already, all or none.

        Args:
            model: answers.
            rows: pixels as the model's manifest says, (3, h, w) uint8 each.
            deadline: a moment of `time.monotonic`.
            priority: their class, 1 the most important.
            trace: of the request, on which phases are noted.

        Raises:
            DeadlineExceeded: the queue could not make the deadline.
            EngineFailed: the model failed on one of the images.
        """
        queued = model.batcher.submit(rows, frozenset(), deadline, priority, trace)
        replies = await _until_answered(queued, model, trace)
        inferred = time.monotonic()
        results = [scores_of(reply.logits) for reply in replies]
        return _answer(results, replies, inferred=inferred)

    def _prepare(self, model: ServedModel, files: Sequence[File], position: int) -> Row:
        """Decode one image and turn it into the model's pixels; runs on a worker thread."""
        try:
            file = files[position]
            content = file if isinstance(file, bytes) else file()
            return self._decoder.decode(content, model.loaded.manifest.input)
        except BadInput as error:
            if len(files) == 1:
                raise
            raise type(error)(f"image {position} of 0 to {len(files) - 1}: {error}") from error

    async def _finish(
        self, model: ServedModel, rows: Sequence[Row], replies: Sequence[Reply], options: Options
    ) -> list[Result]:
        each = zip(rows, replies, strict=True)
        if not options.draws:
            return [finish(model, row, reply, options) for row, reply in each]
        return await _all_or_none(
            [self._on_worker(finish, model, row, reply, options) for row, reply in each]
        )

    def _on_worker(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Call on a worker thread, whose lines in the log are the request's, too."""
        call = contextvars.copy_context().run
        return asyncio.get_running_loop().run_in_executor(self._workers, call, function, *arguments)


def _answer(
    results: list[R], replies: Sequence[Reply], *, inferred: float, decode_s: float | None = None
) -> Answer[R]:
    phases_s: dict[Phase, float] = {
        **({} if decode_s is None else {"decode": decode_s}),
        "queue": max(reply.queue_s for reply in replies),
        "infer": max(reply.infer_s for reply in replies),
        "postprocess": time.monotonic() - inferred,
    }
    batch_size = max(reply.batch_size for reply in replies)
    return Answer(results, phases_s, batch_size, replies[-1].engine)


async def _until_answered(
    queued: Sequence[asyncio.Future[Reply]], model: ServedModel, trace: RequestTrace
) -> list[Reply]:
    """Wait for all images of a request; the first failure takes the others out of the queue."""
    trace.enter("queue", time.monotonic())
    replies = await _all_or_none(queued)
    trace.enter_answer(time.monotonic(), model.tier)
    return replies


async def _all_or_none(waiting: Sequence[asyncio.Future[T]]) -> list[T]:
    """Wait for every future; the first failure, or a cancellation, cancels the others."""
    try:
        return await asyncio.gather(*waiting)
    finally:
        for future in waiting:
            future.cancel()


def finish(model: ServedModel, row: Row, reply: Reply, options: Options) -> Result:
    """Turn the engine's reply into what was asked for; a worker thread's work where it draws.

    Raises:
        EngineFailed: a similarity or a feature is not finite.
    """
    predictions = top_k(reply.logits, options.top_k, model.loaded.labels)
    for block in options.masks.blocks:
        if not np.isfinite(reply.similarities[block]).all():
            raise EngineFailed(f"the model gave a similarity of {block} that is not finite")
    masks = [
        draw_mask(block, reply.similarities[block], model.gates[block], options.masks, row)
        for block in options.masks.blocks
    ]
    attribution = _attribute(model, row, reply, options.attribution)
    return Result(predictions, masks, attribution, draw_image(row) if options.shows_input else None)


def _attribute(
    model: ServedModel, row: Row, reply: Reply, request: AttributionRequest | None
) -> Attribution | None:
    if request is None:
        return None
    if reply.features is None:
        raise EngineFailed("the engine gave no features")
    if not np.isfinite(reply.features).all():
        raise EngineFailed("the model gave features that are not finite")
    return attribute(
        request,
        model.classifier,
        reply.logits,
        reply.features,
        labels=model.loaded.labels,
        pixels=row,
    )
