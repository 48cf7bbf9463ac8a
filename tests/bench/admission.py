"""Who takes part in `bench engines`: built in order of weight, checked, and within the time."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from service.errors import BadSetting, EngineFailed
from service.store.load import LoadedModel
from tests.bench.entrants import CannotRun, Entrant, Logits, Note, Pixels
from tests.bench.ours import graph_of
from tests.bench.ratios import AS_WRITTEN, PEERS, PLAIN
from tests.bench.report import Absent, Label
from tests.bench.rounds import FEWEST_ROUNDS, Clock, Contestant, Pace

# How far logits may be from the reference's, relative to their length: rounding, no more. What
# is further away computes another function, and its speed says nothing.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1, "int8": 1e-1}

# What torch and the peers raise of what they cannot build.
_REFUSALS = (CannotRun, BadSetting, EngineFailed, OSError, RuntimeError, TypeError, ValueError)

NO_TIME = "the time was up before its turn: --minutes gives more"


def weight_of(entrant: Entrant) -> int:
    """The place of an entrant in the order of building: what ratios are made of comes first."""
    is_peer = entrant.engine in PEERS
    if entrant.engine in ("compiled", "tensorrt") and entrant.model != AS_WRITTEN:
        return 0  # SGE fused against plain, and what masks cost
    if is_peer and entrant.model == AS_WRITTEN:
        return 1
    if entrant.engine == "int8":
        return 2
    if entrant.engine == "compiled":
        return 3
    return 5 if is_peer else 4


class Trial:
    """What every entrant must compute: the logits of the network as it is, in fp32.

    Args:
        model: the network with SGE.

    Attributes:
        furthest: how far the logits of entrants were from that at most, relative to their length,
            by engine and precision.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._bundle = model
        self._logits: dict[tuple[str, int], Logits] = {}
        self.furthest: dict[str, float] = {}

    def pixels(self, batch: int) -> Pixels:
        """Noise of the size that the network sees, the same each time."""
        return random_pixels(batch, self._bundle.manifest.input.size_px)

    def check(self, entrant: Entrant, pixels: Pixels, logits: Logits) -> None:
        """Refuse an entrant that computes something else.

        Raises:
            CannotRun: its logits are further from the reference's than rounding explains.
        """
        reference = self._reference(entrant.model, pixels)
        difference = float(np.linalg.norm(logits - reference) / np.linalg.norm(reference))
        name, limit = f"{entrant.engine} {entrant.precision}", TOLERANCES[entrant.precision]
        if not difference <= limit:  # NaN is no number that is small
            raise CannotRun(
                f"computes something else: its logits are {difference:.1%} from the reference's, "
                f"the limit is {limit:.1%}"
            )
        self.furthest[name] = max(difference, self.furthest.get(name, 0.0))

    def _reference(self, model: str, pixels: Pixels) -> Logits:
        form = PLAIN if model == PLAIN else AS_WRITTEN  # fused, it computes the same
        key = form, len(pixels)
        if key not in self._logits:
            graph = graph_of(self._bundle, form, "fp32")
            with torch.inference_mode():
                self._logits[key] = graph(torch.from_numpy(pixels)).logits.numpy()
        return self._logits[key]


@dataclass(slots=True)
class Time:
    """Whether there is time to build one more, and to measure all of them afterwards.

    Attributes:
        pace: of the measurement; its end is the end of everything.
        clock: in seconds.
        longest: how long building one of a kind took at most.
        round_s: how long a round of those who were admitted will take.
    """

    pace: Pace
    clock: Clock
    longest: dict[tuple[str, str, str], float] = field(default_factory=dict)
    round_s: float = 0.0

    def is_enough_for(self, entrant: Entrant) -> bool:
        """Whether one more would fit, if it is built as fast as others of its kind."""
        rounds = self.pace.rounds or FEWEST_ROUNDS
        build_s = self.longest.get(_kind_of(entrant), 0.0)
        return self.clock() + build_s + rounds * self.round_s <= self.pace.until

    def took(self, entrant: Entrant, seconds: float) -> None:
        """Note how long an entrant was built and checked."""
        kind = _kind_of(entrant)
        self.longest[kind] = max(seconds, self.longest.get(kind, 0.0))

    def measured(self, run_s: float) -> None:
        """Note how long an admitted contestant runs once."""
        self.round_s += run_s if run_s >= self.pace.turn_s else run_s + self.pace.turn_s


def _kind_of(entrant: Entrant) -> tuple[str, str, str]:
    return entrant.engine, entrant.precision, entrant.way


def admit(
    entrants: Iterable[Entrant], trial: Trial, batches: Sequence[int], note: Note, time: Time
) -> tuple[list[Contestant], list[Absent]]:
    """Build the entrants and run each batch size; what fails, errs or comes too late is left out.

    Args:
        entrants: who wants to take part; those of most weight are built first.
        trial: what they must compute.
        batches: sizes.
        note: is told what is being done.
        time: that there is.
    """
    contestants: list[Contestant] = []
    absent: list[Absent] = []
    for entrant in sorted(entrants, key=weight_of):
        sizes = [size for size in batches if entrant.only_batch in (None, size)]
        if not sizes:
            continue
        if not time.is_enough_for(entrant):
            absent.append(Absent(str(entrant), NO_TIME))
            continue
        note(f"building {entrant}")
        try:
            contestants += _built(entrant, trial, sizes, time)
        except _REFUSALS as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            absent.append(Absent(str(entrant), reason))
    return contestants, absent


def _built(entrant: Entrant, trial: Trial, batches: Sequence[int], time: Time) -> list[Contestant]:
    began = time.clock()
    contestants = []
    try:
        runner = entrant.build()
        for batch in batches:
            pixels = trial.pixels(batch)
            trial.check(entrant, pixels, runner(pixels))  # compiles for this size
            label = Label(entrant.engine, entrant.model, entrant.precision, batch)
            contestants.append(Contestant(label, functools.partial(runner, pixels)))
    finally:
        time.took(entrant, time.clock() - began)
    for contestant in contestants:
        began = time.clock()
        contestant.run()
        time.measured(time.clock() - began)
    return contestants


def random_pixels(batch: int, side_px: int) -> Pixels:
    """Noise, the same each time: (B, 3, h, w) uint8."""
    return np.random.default_rng(batch).integers(0, 256, (batch, 3, side_px, side_px), np.uint8)
