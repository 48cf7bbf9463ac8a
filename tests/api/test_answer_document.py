"""The native API's answer: the bytes, and who waits for them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from service.api.answer_document import encode_answer
from service.results.masks import Mask
from service.results.predictions import Prediction
from service.serving.options import Options
from service.serving.pipeline import Answer, Pipeline, Result
from service.serving.served_model import ServedModel
from tests.fakes import FakeEngine
from tests.running import grey, running

pytestmark = pytest.mark.anyio

BEST = Prediction(index=1, label="dog", score=0.5)
MASK = Mask("layer4.1", "gate", (3,), np.array([[[0.25, 0.5]]], np.float32))
TIMES = {"total": 1.0}


@pytest.mark.parametrize("masks", [[], [MASK], [MASK, replace(MASK, form="npy")]])
@pytest.mark.parametrize("images", [0, 1, 3])
def test_the_pieces_make_up_one_document(images: int, masks: list[Mask]) -> None:
    """With as many results and masks as there are, none included."""
    results = [Result([BEST], masks)] * images

    document = orjson.loads(encode_answer({"request_id": "7"}, results, {"timing_ms": TIMES}))

    assert list(document) == ["request_id", "results", "timing_ms"]
    assert len(document["results"]) == images
    for result in document["results"]:
        assert result["predictions"] == [{"index": 1, "label": "dog", "score": 0.5}]
        assert [mask["block"] for mask in result.get("masks", [])] == ["layer4.1"] * len(masks)


class SlowMask:
    """A mask that takes until the test lets it end to be written."""

    block, kind, groups, form = "layer4.1", "gate", (3,), "json"

    def __init__(self) -> None:
        self.is_written = threading.Event()
        self.may_end = threading.Event()

    @property
    def numbers(self) -> NDArray[np.float32]:
        """Wait."""
        self.is_written.set()
        self.may_end.wait(60)
        return MASK.numbers


class SlowlyWritten(Pipeline):
    """A pipeline whose every answer holds one such mask."""

    def __init__(self, mask: SlowMask, pipeline: Pipeline) -> None:
        super().__init__(pipeline._workers, pipeline._decoder)
        self._mask = mask

    async def answer(
        self, model: ServedModel, files: object, options: Options, deadline: float, **_: object
    ) -> Answer[Result]:
        """Give it."""
        results = [Result([BEST], [self._mask])]  # type: ignore[list-item]
        return Answer(results, {}, 1, model.engine)


async def test_an_answer_that_is_being_written_keeps_its_permit() -> None:
    """A deadline does not let others in while a thread is still busy with a request."""
    mask = SlowMask()
    async with running(engine=FakeEngine()) as service:
        pipeline = SlowlyWritten(mask, service.runtime.pipeline)
        service.app.state.runtime = replace(service.runtime, pipeline=pipeline)
        asked = asyncio.ensure_future(
            service.predict(grey(1), "masks=last", x_request_deadline_ms="200")
        )
        await asyncio.to_thread(mask.is_written.wait, 60)
        await asyncio.wait({asked}, timeout=0.3)
        inside = service.runtime.admission.in_use
        mask.may_end.set()
        reply = await asked
        left = service.runtime.admission.in_use

    assert (inside, left) == (1, 0)
    assert reply.status_code == 504
