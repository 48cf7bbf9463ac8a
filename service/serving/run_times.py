"""How long a device takes for a batch of a size, told from the batches it has run of late."""

from __future__ import annotations

import math
from collections import deque

from service.serving.batch_policy import Run

RECENT_RUNS = 32  # enough to smooth, few enough to follow a change of engine or load
KEPT = 31 / 32  # of the weight of answers at each new one
ONCE_S = 0.2  # of an answer's time is thought to come once a request, until answers tell
ALIKE_S = 0.02  # predictions that spread less say little of how answers grow with them
MARGIN = 2.0  # standard deviations; of a normal distribution 2 of 100 are beyond
OWN_SHARE = 0.5  # of the time of a batch, that does not grow with it, while only one size is known


class RunTimes:
    """The recent runs of one model, and the line through them: f + c b seconds for b images."""

    def __init__(self) -> None:
        self.runs: deque[Run] = deque(maxlen=RECENT_RUNS)
        self._line = (0.0, 0.0)  # f and c; asked for at each request, so drawn at each run

    def add(self, run: Run) -> None:
        """Remember a run."""
        self.runs.append(run)
        self._line = self._draw_line()

    def clear(self) -> None:
        """Forget all: another engine runs from now on."""
        self.runs.clear()

    def seconds_for(self, images: int, max_batch: int) -> float:
        """Give the time of so many images, in batches as large as they may be; 0 while unknown.

        Args:
            images: any number.
            max_batch: of one run.
        """
        if not self.runs or images <= 0:
            return 0.0
        fixed_s, image_s = self._line
        full, rest = divmod(images, max_batch)
        batches = full + (rest > 0)
        return batches * fixed_s + images * image_s

    def _draw_line(self) -> tuple[float, float]:
        """Least squares through the runs; neither number is negative."""
        count = len(self.runs)
        mean_entries = sum(run.entries for run in self.runs) / count
        mean_s = sum(run.seconds for run in self.runs) / count
        spread = sum((run.entries - mean_entries) ** 2 for run in self.runs)
        if spread == 0:
            image_s = (1 - OWN_SHARE) * mean_s / mean_entries
        else:
            covariance = sum(
                (run.entries - mean_entries) * (run.seconds - mean_s) for run in self.runs
            )
            image_s = min(max(0.0, covariance / spread), mean_s / mean_entries)
        return mean_s - image_s * mean_entries, image_s


class AnswerTimes:
    """How long answers take, by how long their images' work was predicted to.

    Decoding, drawing and other threads on the same cores are in it: some of that comes once a
    request and some with every image ahead of it. So it is a line through the recent answers, older
    ones counting less and less. Around it they spread by as much more as more was predicted, which
    is how they are weighted. While the predictions hardly differ, the line runs as if answers took
    a constant longer than predicted.
    """

    def __init__(self) -> None:
        self._answers = 0.0
        self._weights = 0.0
        self._predicted_s = 0.0  # weighted sums, of values and of products
        self._took_s = 0.0
        self._squares = 0.0
        self._products = 0.0
        self._took_squares = 0.0

    def learn(self, predicted_s: float, took_s: float) -> None:
        """Take another answer into account."""
        weight = 1 / (predicted_s + ONCE_S) ** 2
        self._answers = KEPT * self._answers + 1
        self._weights = KEPT * self._weights + weight
        self._predicted_s = KEPT * self._predicted_s + weight * predicted_s
        self._took_s = KEPT * self._took_s + weight * took_s
        self._squares = KEPT * self._squares + weight * predicted_s**2
        self._products = KEPT * self._products + weight * predicted_s * took_s
        self._took_squares = KEPT * self._took_squares + weight * took_s**2

    def within_s(self, predicted_s: float) -> float:
        """Give the time within which nearly every answer comes, never less than predicted."""
        if not self._answers:
            return predicted_s
        mean_s, mean_took_s = self._predicted_s / self._weights, self._took_s / self._weights
        variance = self._squares / self._weights - mean_s**2
        covariance = self._products / self._weights - mean_s * mean_took_s
        guess = mean_took_s / (mean_s + ONCE_S)
        slope = max(1.0, (covariance + guess * ALIKE_S**2) / (variance + ALIKE_S**2))
        took_variance = self._took_squares / self._weights - mean_took_s**2
        around = max(0.0, took_variance - 2 * slope * covariance + slope**2 * variance)
        spread = math.sqrt(around * self._weights / self._answers)  # for each second predicted
        expected_s = mean_took_s + slope * (predicted_s - mean_s)
        return max(predicted_s, expected_s + MARGIN * spread * (predicted_s + ONCE_S))
