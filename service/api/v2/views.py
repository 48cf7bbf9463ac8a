"""One set of weights under three names: for pixels, for pictures, and for pictures with masks.

B: images of a request, K: classes, k: predictions, G: groups and h, w: size of the last block's
masks, S: side of the model's input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from service.api.v2.tensors import TensorSpec, Values
from service.results.attribution import AttributionRequest
from service.results.attribution_request import BestClasses
from service.results.mask_request import AllGroups, MaskRequest
from service.results.predictions import Prediction
from service.serving.options import Options
from service.serving.pipeline import Answer, Pipeline, Result
from service.serving.served_model import ServedModel
from service.serving.served_models import ServedModels
from service.serving.turns import DEFAULT_PRIORITY
from service.tracing.request_trace import UNTRACED, RequestTrace

TOP = 5  # predictions of a picture, where the model has as many classes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a view gave: every output by name, and the pipeline's account of the request."""

    values: dict[str, Values]
    answer: Answer[Any]


@dataclass(frozen=True, slots=True)
class PixelsView:
    """Pixels as the model sees them -> the probability of every class."""

    suffix: ClassVar[str] = ""
    model: ServedModel

    @property
    def image(self) -> TensorSpec:
        """RGB, 0 to 255; the model normalises them itself."""
        side = self.model.loaded.manifest.input.size_px
        return TensorSpec("IMAGE", "UINT8", (3, side, side))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """PROBS (B, K)."""
        return (TensorSpec("PROBS", "FP32", (len(self.model.loaded.labels),)),)

    async def run(
        self,
        pipeline: Pipeline,
        images: Values,
        deadline: float,
        *,
        priority: int = DEFAULT_PRIORITY,
        trace: RequestTrace = UNTRACED,
    ) -> Outcome:
        """Score (B, 3, S, S) uint8."""
        answer = await pipeline.score(
            self.model, list(images), deadline, priority=priority, trace=trace
        )
        return Outcome({"PROBS": np.stack(answer.results)}, answer)


@dataclass(frozen=True, slots=True)
class PicturesView:
    """Encoded pictures -> the best classes."""

    suffix: ClassVar[str] = "-image"
    model: ServedModel

    @property
    def image(self) -> TensorSpec:
        """The bytes of a JPEG, PNG or another accepted format."""
        return TensorSpec("IMAGE", "BYTES", (1,))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """TOP_INDEX, TOP_SCORE and TOP_LABEL, each (B, k), best first."""
        return self._tops

    @property
    def _tops(self) -> tuple[TensorSpec, ...]:
        dims = (self._top,)
        return (
            TensorSpec("TOP_INDEX", "INT32", dims),
            TensorSpec("TOP_SCORE", "FP32", dims),
            TensorSpec("TOP_LABEL", "BYTES", dims),
        )

    @property
    def _top(self) -> int:
        return min(TOP, len(self.model.loaded.labels))

    async def run(
        self,
        pipeline: Pipeline,
        images: Values,
        deadline: float,
        *,
        priority: int = DEFAULT_PRIORITY,
        trace: RequestTrace = UNTRACED,
    ) -> Outcome:
        """Decode and classify (B, 1) files."""
        answer = await self._answer(pipeline, images, deadline, priority, trace)
        return Outcome(_tops(answer), answer)

    async def _answer(
        self,
        pipeline: Pipeline,
        images: Values,
        deadline: float,
        priority: int,
        trace: RequestTrace,
    ) -> Answer[Result]:
        files = list(images.ravel())
        return await pipeline.answer(
            self.model, files, self._options, deadline, priority=priority, trace=trace
        )

    @property
    def _options(self) -> Options:
        return Options(self._top, MaskRequest((), AllGroups(), "gate", "json"))


@dataclass(frozen=True, slots=True)
class ExplainedView(PicturesView):
    """Encoded pictures -> the best classes, where their evidence lies, the last block's gates."""

    suffix: ClassVar[str] = "-explain"

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Those of pictures, MASK (B, G, h, w), and ATTRIBUTION (B, k, h, w) of those classes."""
        last = self.model.blocks[-1]
        mask = TensorSpec("MASK", "FP32", (last.groups, last.height, last.width))
        evidence = TensorSpec("ATTRIBUTION", "FP32", (self._top, last.height, last.width))
        return (*self._tops, mask, evidence)

    async def run(
        self,
        pipeline: Pipeline,
        images: Values,
        deadline: float,
        *,
        priority: int = DEFAULT_PRIORITY,
        trace: RequestTrace = UNTRACED,
    ) -> Outcome:
        """Decode, classify and show (B, 1) files."""
        answer = await self._answer(pipeline, images, deadline, priority, trace)
        masks = np.stack([result.masks[0].numbers for result in answer.results])
        evidence = np.stack([_evidence(result) for result in answer.results])
        return Outcome({**_tops(answer), "MASK": masks, "ATTRIBUTION": evidence}, answer)

    @property
    def _options(self) -> Options:
        masks = MaskRequest((self.model.blocks[-1].name,), AllGroups(), "gate", "json")
        attribution = AttributionRequest(BestClasses(self._top), "json")
        return Options(self._top, masks, attribution)


View = PixelsView | PicturesView
"""A name under which the protocol shows a served model, with one input and outputs of its own."""
VIEWS: tuple[type[View], ...] = (PixelsView, PicturesView, ExplainedView)


def name_of(view: View) -> str:
    """The name by which requests mean a view."""
    return f"{view.model.name}{view.suffix}"


def find_view(models: ServedModels, name: str, version: str | None) -> View:
    """The view that a path names. A served model's own name goes before a view's.

    Raises:
        UnknownModel: there is none.
    """
    kind, model_name = _split(models, name)
    return kind(models.find(model_name, version))


def draw_view(models: ServedModels, name: str, version: str | None) -> View:
    """The view that is to answer a request: as `find_view`, but by versions' shares.

    Raises:
        UnknownModel: there is none.
    """
    kind, model_name = _split(models, name)
    return kind(models.draw(model_name, version))


def _split(models: ServedModels, name: str) -> tuple[type[View], str]:
    if name not in models.names:
        for kind in VIEWS:
            if kind.suffix and name.removesuffix(kind.suffix) in models.names:
                return kind, name.removesuffix(kind.suffix)
    return PixelsView, name


def every_view(models: ServedModels) -> Iterator[View]:
    """Every view of every model, sorted by the model's name."""
    for name in models.names:
        for model in models.versions(name):
            yield from (kind(model) for kind in VIEWS)


def _tops(answer: Answer[Result]) -> dict[str, Values]:
    rows = [result.predictions for result in answer.results]

    def column(value: str) -> Values:
        return np.array([[getattr(best, value) for best in row] for row in rows])

    labels = np.array([[_label(best) for best in row] for row in rows], dtype=object)
    return {"TOP_INDEX": column("index"), "TOP_SCORE": column("score"), "TOP_LABEL": labels}


def _evidence(result: Result) -> Values:
    if result.attribution is None:
        raise TypeError("every image's attribution was asked for")
    return result.attribution.numbers


def _label(prediction: Prediction) -> bytes:
    return prediction.label.encode()
