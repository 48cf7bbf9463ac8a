"""How long a device takes for a batch of a size, told from the batches it has run of late."""

from __future__ import annotations

from collections import deque

from service.serving.batch_policy import Run

RECENT_RUNS = 32  # enough to smooth, few enough to follow a change of engine or load
OWN_SHARE = 0.5  # of the time of a batch, that does not grow with it, while only one size is known


class RunTimes:
    """The recent runs of one model, and the line through them: f + c b seconds for b images."""

    def __init__(self) -> None:
        self.runs: deque[Run] = deque(maxlen=RECENT_RUNS)

    def add(self, run: Run) -> None:
        """Remember a run."""
        self.runs.append(run)

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
        fixed_s, image_s = self._line()
        full, rest = divmod(images, max_batch)
        batches = full + (rest > 0)
        return batches * fixed_s + images * image_s

    def _line(self) -> tuple[float, float]:
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


class Overrun:
    """By how much answers take longer than was told when their images came in.

    Decoding, drawing and other threads on the same cores are in it. The mean and the mean deviation
    are smoothed as TCP does it for its round trips (Jacobson and Karels 1988).
    """

    def __init__(self) -> None:
        self.mean_s = 0.0
        self.deviation_s = 0.0

    def learn(self, overrun_s: float) -> None:
        """Take another answer into account."""
        error_s = overrun_s - self.mean_s
        self.mean_s += error_s / 8
        self.deviation_s += (abs(error_s) - self.deviation_s) / 4

    @property
    def margin_s(self) -> float:
        """What to add to a prediction, so that few answers take longer."""
        return max(0.0, self.mean_s + 2 * self.deviation_s)
