"""Who takes part in a bench of engines: built in order of weight, checked, and within the time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from service.errors import BadSetting, EngineFailed
from service.model.resnet import ResNetSpec
from service.store.load import LoadedModel
from tests.bench.networks import AS_WRITTEN, PLAIN, PLAINS, graph_of
from tests.bench.ratios import PEERS, SERVED
from tests.bench.report import Absent, Label
from tests.bench.rounds import FEWEST_ROUNDS, Clock, Contestant, Pace, timed

Pixels = NDArray[np.uint8]
"""A batch: (B, 3, h, w) uint8, RGB."""

Logits = NDArray[np.float32]
"""(B, K)."""

Runner = Callable[[Pixels], Logits]
"""Takes a batch through a network and waits for the result."""

Note = Callable[[str], None]
"""Is told what is being done."""

# How far logits may be from the reference's, relative to their length: rounding, no more. What
# is further away computes another function, and its speed says nothing.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1, "int8": 1e-1}

NO_TIME = "the time was up before its turn: --minutes gives more"


class CannotRun(Exception):
    """Something that cannot take part here; its text says why."""


# What torch and the peers raise of what they cannot build.
_REFUSALS = (CannotRun, BadSetting, EngineFailed, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class EngineBench:
    """What is to be measured.

    Attributes:
        spec: the network with SGE; its weights are random.
        engines: names that rows may have; empty takes all.
        precisions: `fp32`, `bf16`, `fp16`, `int8`; TensorRT's is its own.
        batches: sizes, each measured for itself.
        threads: of one forward pass on a CPU, the same for all.
        peer_forms: forms of the network that peers run.
        device: where our engines run; peers run on the CPU.
        pace: its end is that of the whole run; entrants whose turn comes too late are left out.
        with_start_up: measure starting the service too.
        with_shipped: measure a network like the one that ships too.
    """

    spec: ResNetSpec
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    threads: int
    peer_forms: tuple[str, ...]
    device: torch.device
    pace: Pace
    with_start_up: bool
    with_shipped: bool = False

    def takes(self, engine: str) -> bool:
        """Whether an engine may have rows."""
        return not self.engines or engine in self.engines


@dataclass(frozen=True, slots=True)
class Entrant:
    """An engine with one form of a network in one precision.

    Attributes:
        build: gets it ready to run, which is slow; raises `CannotRun`, or what its library raises.
        only_batch: the one size to measure it at; None measures every size.
        way: of building; of one engine and precision those built in the same way take about as
            long.
    """

    engine: str
    model: str
    precision: str
    build: Callable[[], Runner]
    only_batch: int | None = None
    way: str = ""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}, {self.model}"

    @property
    def kind(self) -> tuple[str, str, str]:
        """Those of one kind take about as long to build."""
        return self.engine, self.precision, self.way

    @property
    def weight(self) -> int:
        """The place in the order of building: what ratios are made of comes first."""
        if self.engine in SERVED and self.model != AS_WRITTEN:
            return 0  # SGE fused against plain, and what masks cost
        if self.engine in PEERS:
            return 1 if self.model == AS_WRITTEN else 5
        return {"int8": 2, "compiled": 3}.get(self.engine, 4)


class Trial:
    """What every entrant must compute: the logits of the network as it is, in fp32.

    Args:
        model: the network with SGE.
        name: of the network, where there are several.

    Attributes:
        furthest: how far the logits of entrants were from that at most, relative to their length,
            by network, engine and precision.
    """

    def __init__(self, model: LoadedModel, name: str = "") -> None:
        self._model = model
        self._prefix = f"{name}, " if name else ""
        self._reference = functools.cache(self._computed)
        self.furthest: dict[str, float] = {}

    def pixels(self, batch: int) -> Pixels:
        """Noise of the size that the network sees, the same each time."""
        return random_pixels(batch, self._model.manifest.input.size_px)

    def check(self, entrant: Entrant, logits: Logits) -> None:
        """Refuse an entrant that computes something else of as many `pixels`.

        Raises:
            CannotRun: its logits are further from the reference's than rounding explains.
        """
        form = PLAIN if entrant.model in PLAINS else AS_WRITTEN  # fused, it computes the same
        reference = self._reference(form, len(logits))
        difference = float(np.linalg.norm(logits - reference) / np.linalg.norm(reference))
        name = f"{self._prefix}{entrant.engine} {entrant.precision}"
        limit = TOLERANCES[entrant.precision]
        if not difference <= limit:  # NaN is no number that is small
            raise CannotRun(
                f"computes something else: its logits are {difference:.1%} from the reference's, "
                f"the limit is {limit:.1%}"
            )
        self.furthest[name] = max(difference, self.furthest.get(name, 0.0))

    def _computed(self, form: str, batch: int) -> Logits:
        graph = graph_of(self._model, form, "fp32")
        with torch.inference_mode():
            logits: Logits = graph(torch.from_numpy(self.pixels(batch))).logits.numpy()
        return logits


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
        build_s = self.longest.get(entrant.kind, 0.0)
        return self.clock() + build_s + rounds * self.round_s <= self.pace.until

    def measured(self, run_s: float) -> None:
        """Note how long an admitted contestant runs once."""
        self.round_s += run_s if run_s >= self.pace.turn_s else run_s + self.pace.turn_s


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who runs, who was left out and why, and how far off logits were (`Trial.furthest`)."""

    contestants: list[Contestant]
    absent: list[Absent]
    furthest: Mapping[str, float]


def admit(
    entrants: Iterable[Entrant], trial: Trial, batches: Sequence[int], note: Note, time: Time
) -> Admitted:
    """Build the entrants by weight and run each batch size.

    What fails, computes something else or would be ready too late is left out.
    """
    contestants: list[Contestant] = []
    absent: list[Absent] = []
    for entrant in sorted(entrants, key=lambda entrant: entrant.weight):
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
            absent.append(Absent(str(entrant), first_line(error)))
    return Admitted(contestants, absent, trial.furthest)


def _built(entrant: Entrant, trial: Trial, batches: Sequence[int], time: Time) -> list[Contestant]:
    began = time.clock()
    contestants = []
    try:
        runner = entrant.build()
        for batch in batches:
            pixels = trial.pixels(batch)
            trial.check(entrant, runner(pixels))  # compiles for this size
            label = Label(entrant.engine, entrant.model, entrant.precision, batch)
            contestants.append(Contestant(label, functools.partial(runner, pixels)))
    finally:
        took = time.clock() - began
        time.longest[entrant.kind] = max(took, time.longest.get(entrant.kind, 0.0))
    for contestant in contestants:
        time.measured(timed(contestant.run, time.clock))
    return contestants


def first_line(error: Exception) -> str:
    """What stood in the way, without the pages that compilers add."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def random_pixels(batch: int, side_px: int) -> Pixels:
    """Noise, the same each time: (B, 3, h, w) uint8."""
    return np.random.default_rng(batch).integers(0, 256, (batch, 3, side_px, side_px), np.uint8)
