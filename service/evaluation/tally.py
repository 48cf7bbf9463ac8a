"""What is kept of each picture while an evaluation runs, and the pictures that are worth a look.

B: batch, K: classes, S: side of the model's pixels.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.evaluation.outcomes import Agreement, Outcomes, compare, join, judge, scores_of_batch

KEPT = 48  # pictures that are shown, most confidently wrong first
SLOWEST = 10


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture that was decoded.

    Attributes:
        file: its name, as it is shown.
        truth: its class.
        pixels: (3, S, S) uint8, RGB, as the model sees it.
        seconds: that it took to read and decode.
    """

    file: str
    truth: int
    pixels: NDArray[np.uint8]
    seconds: float


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be evaluated, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Slow:
    """A file, and how long it took to read and decode."""

    file: str
    ms: float


@dataclass(frozen=True, slots=True)
class Wrong:
    """A picture whose best class is not the true one, with the scores of both."""

    file: str
    truth: int
    predicted: int
    score: float
    score_of_truth: float


class Tally:
    """Adds up what engines say of pictures; of each it keeps some numbers alone.

    Args:
        engines: their names; wrong pictures are the first one's.
        reference: position of the engine with which the others are compared.
    """

    def __init__(self, engines: Sequence[str], reference: int) -> None:
        self.engines = tuple(engines)
        self.reference = reference
        self.unreadable: list[Unreadable] = []
        self.agreements = [Agreement(0, 0, 0.0) for _ in engines]
        self._outcomes: list[list[Outcomes]] = [[] for _ in engines]
        self._wrong: list[tuple[float, int, Wrong, NDArray[np.uint8]]] = []
        self._slowest: list[tuple[float, int, Slow]] = []
        self._count = 0

    @property
    def count(self) -> int:
        """Pictures that were evaluated."""
        return self._count

    def add(self, pictures: Sequence[Picture], logits: Sequence[NDArray[np.float32]]) -> None:
        """Add a batch.

        Args:
            pictures: B of them; one on which an engine gives what is no number is unreadable.
            logits: (B, K) of each engine.
        """
        is_sound = np.all([np.isfinite(part).all(axis=1) for part in logits], axis=0)  # (B,)
        for picture, sound in zip(pictures, is_sound, strict=True):
            if not sound:
                reason = "the model gave logits that are not finite"
                self.unreadable.append(Unreadable(picture.file, reason))
        if is_sound.any():
            kept = [picture for picture, sound in zip(pictures, is_sound, strict=True) if sound]
            self._add_sound(kept, [part[is_sound] for part in logits])

    def _add_sound(
        self, pictures: Sequence[Picture], logits: Sequence[NDArray[np.float32]]
    ) -> None:
        truth = np.array([picture.truth for picture in pictures], np.int64)
        scores = [scores_of_batch(of_engine) for of_engine in logits]
        for engine, of_engine in enumerate(scores):
            self._outcomes[engine].append(judge(logits[engine], of_engine, truth))
            both = compare(of_engine, scores[self.reference])
            self.agreements[engine] = self.agreements[engine].and_of(both)
        for row, picture in enumerate(pictures):
            self._count += 1
            self._keep_slow(picture)
            self._keep_wrong(picture, scores[0][row], int(self._outcomes[0][-1].predicted[row]))

    def _keep_slow(self, picture: Picture) -> None:
        slow = Slow(picture.file, round(1000 * picture.seconds, 2))
        heapq.heappush(self._slowest, (picture.seconds, -self._count, slow))
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)

    def _keep_wrong(self, picture: Picture, scores: NDArray[np.float64], predicted: int) -> None:
        if predicted == picture.truth:
            return
        score, of_truth = float(scores[predicted]), float(scores[picture.truth])
        wrong = Wrong(picture.file, picture.truth, predicted, score, of_truth)
        heapq.heappush(self._wrong, (score, -self._count, wrong, picture.pixels))
        if len(self._wrong) > KEPT:
            heapq.heappop(self._wrong)

    def outcomes(self, engine: int) -> Outcomes:
        """Of all pictures, by one engine; there has to be a picture."""
        return join(self._outcomes[engine])

    def wrong(self) -> list[tuple[Wrong, NDArray[np.uint8]]]:
        """The first engine's most confidently wrong pictures, worst first, with their pixels."""
        return [(wrong, pixels) for _, _, wrong, pixels in sorted(self._wrong, reverse=True)]

    def slowest(self) -> list[Slow]:
        """The pictures that took longest to read and decode."""
        return [slow for _, _, slow in sorted(self._slowest, reverse=True)]
