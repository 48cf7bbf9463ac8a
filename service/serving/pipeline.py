"""The way of a request behind HTTP: encoded images in, results out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from service.engines.base import EngineDescription, Row
from service.errors import BadInput, EngineFailed
from service.metrics import Phase
from service.model.resnet import FEATURES
from service.results.attribution import Attribution, AttributionRequest, attribute
from service.results.attribution_request import parse_classes
from service.results.heat_map import draw_image
from service.results.map_cost import MapCost, cost_of_image, cost_of_maps
from service.results.mask_request import MaskRequest, cost_of, parse_blocks, parse_groups
from service.results.masks import Mask, draw_mask
from service.results.predictions import Prediction, Scores, scores_of, top_k
from service.results.query import PredictQuery
from service.serving.decode_workers import Decoder
from service.serving.entry import Reply
from service.serving.served_model import ServedModel
from service.serving.turns import DEFAULT_PRIORITY

File = bytes | Callable[[], bytes]
"""An encoded image, or what reads it, as soon as a decoder is free for it."""

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks of each image.

    Attributes:
        top_k: how many predictions.
        masks: which masks.
        attribution: for which classes; None for none.
        shows_input: whether the picture as the model saw it is answered.
    """

    top_k: int
    masks: MaskRequest
    attribution: AttributionRequest | None = None
    shows_input: bool = False

    @property
    def extras(self) -> frozenset[str]:
        """What an engine has to give beside logits."""
        return frozenset(self.masks.blocks) | ({FEATURES} if self.attribution else set())

    @property
    def draws(self) -> bool:
        """Whether anything is asked for that takes longer than a list of classes."""
        return bool(self.extras) or self.shows_input

    def cost(self, model: ServedModel) -> MapCost:
        """Tell what maps, pictures and classes come to for each image."""
        spec, side_px = model.loaded.manifest.spec, model.loaded.manifest.input.size_px
        cost = cost_of(self.masks, model.blocks, side_px)
        classes = min(self.top_k, len(model.loaded.labels))
        cost += model.class_names.cost_of(classes)
        if self.attribution is not None:
            *_, height, width = spec.features_shape
            maps, form = self.attribution.classes.count, self.attribution.format
            cost += cost_of_maps(maps, height * width, form, side_px)
            cost += model.class_names.cost_of(maps)
        return cost + cost_of_image(side_px) if self.shows_input else cost


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


def read_options(query: PredictQuery, model: ServedModel) -> Options:
    """Read what a query asks of a model.

    Raises:
        BadRequest: blocks, groups or classes that the model does not have.
    """
    masks = MaskRequest(
        blocks=parse_blocks(query.masks, model.blocks),
        groups=parse_groups(query.groups, model.loaded.manifest.groups),
        kind=query.mask_kind,
        format=query.mask_format,
    )
    classes = parse_classes(query.attribution, model.class_names)
    attribution = None if classes is None else AttributionRequest(classes, query.mask_format)
    return Options(query.top_k, masks, attribution, shows_input=query.input)


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
    ) -> Answer[Result]:
        """Answer every image of a request, or none.

        Cancelling it takes the images out of the queue.

        Args:
            model: answers.
            files: encoded images.
            options: of the request.
            deadline: a moment of `time.monotonic`.
            priority: their class, 1 the most important.

        Raises:
            BadInput: an image cannot be decoded; of several, its position is named.
            DeadlineExceeded: the queue could not make the deadline.
            EngineFailed: the model failed on one of the images.
        """
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        rows: list[Row] = await _all_or_none(
            [
                loop.run_in_executor(self._workers, self._prepare, model, files, position)
                for position in range(len(files))
            ]
        )
        decoded = time.monotonic()
        queued = model.batcher.submit(rows, options.extras, deadline, priority)
        replies = await _all_or_none(queued)
        inferred = time.monotonic()
        results = await self._finish(model, rows, replies, options)
        return _answer(results, replies, decode_s=decoded - began, inferred=inferred)

    async def score(
        self,
        model: ServedModel,
        rows: Sequence[Row],
        deadline: float,
        *,
        priority: int = DEFAULT_PRIORITY,
    ) -> Answer[Scores]:
        """Give the probability of every class of images that are pixels already, all or none.

        Args:
            model: answers.
            rows: pixels as the model's manifest says, (3, h, w) uint8 each.
            deadline: a moment of `time.monotonic`.
            priority: their class, 1 the most important.

        Raises:
            DeadlineExceeded: the queue could not make the deadline.
            EngineFailed: the model failed on one of the images.
        """
        replies = await _all_or_none(model.batcher.submit(rows, frozenset(), deadline, priority))
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
        if not options.draws:
            return [
                finish(model, row, reply, options) for row, reply in zip(rows, replies, strict=True)
            ]
        loop = asyncio.get_running_loop()
        try:
            return await _all_or_none(
                [
                    loop.run_in_executor(self._workers, finish, model, row, reply, options)
                    for row, reply in zip(rows, replies, strict=True)
                ]
            )
        except EngineFailed as error:
            model.account.on_failure(error, entries=1)
            raise


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
