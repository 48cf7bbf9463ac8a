"""`bench engines`: one network in three forms, on our engines and on their peers."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from service.bench.entrants import CannotRun, Entrant, Logits, Pixels
from service.bench.machine import describe, has_native_bf16
from service.bench.networks import random_bundle
from service.bench.ours import Ours, graph_of, our_entrants
from service.bench.peers import LIBRARIES, Peers, peer_entrants
from service.bench.ratios import AS_WRITTEN, PLAIN, engine_ratios
from service.bench.report import Absent, Label, Report
from service.bench.rounds import Clock, Contestant, Pace, measure, rows_of, spread_note
from service.bench.start_up import STARTED, StartUpBench, bench_start_up
from service.engines.device import DTYPES
from service.errors import BadSetting
from service.model.resnet import ResNetSpec
from service.store import Bundle

Note = Callable[[str], None]

CALIBRATION_IMAGES = 32

# How far logits may be from the reference's, relative to their length: rounding, no more. What
# is further away computes another function, and its speed says nothing.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1, "int8": 1e-1}

# What torch and the peers raise of what they cannot build.
_REFUSALS = (CannotRun, BadSetting, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class EngineBench:
    """What to measure.

    Attributes:
        spec: the network with SGE; its weights are random.
        engines: names that rows may have; empty takes all.
        precisions: `fp32`, `bf16`, `fp16`, `int8`; TensorRT's is its own.
        batches: sizes, each measured for itself.
        threads: of one forward pass on a CPU, the same for all.
        peer_forms: forms of the network that peers run.
        device: where our engines run; peers run on the CPU.
        rounds: None takes as many as fit.
        budget_s: what the whole run may take, unless building alone takes longer.
        with_start_up: measure starting the service too.
        cache_dir: where our engines keep what they compile.
    """

    spec: ResNetSpec
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    threads: int
    peer_forms: tuple[str, ...]
    device: torch.device
    rounds: int | None
    budget_s: float
    with_start_up: bool
    cache_dir: Path


def bench_engines(wanted: EngineBench, note: Note, clock: Clock) -> Report:
    """Build every contestant, check that it computes the same, and let all run in turn.

    Args:
        wanted: what to measure.
        note: is told what is being done.
        clock: in seconds.
    """
    began = clock()
    torch.set_num_threads(wanted.threads)
    machine = describe(wanted.threads, LIBRARIES, clock)
    machine = dataclasses.replace(machine, network=dataclasses.asdict(wanted.spec))
    bundle = random_bundle(wanted.spec)
    with tempfile.TemporaryDirectory(prefix="sge-bench-") as folder:
        starts = _starts(wanted, bundle, Path(folder))
        started = bench_start_up(starts, note, clock)
        entrants = [
            entrant
            for entrant in all_entrants(wanted, starts, Path(folder))
            if not wanted.engines or entrant.engine in wanted.engines
        ]
        trial = Trial(bundle)
        contestants, absent = admit(entrants, trial, wanted.batches, note)
    contestants.sort(key=lambda contestant: contestant.label.batch)  # who is compared, neighbours
    note(f"{len(contestants)} contestants run in turn")
    seconds = measure(contestants, Pace(wanted.rounds, began + wanted.budget_s), clock)
    rows = rows_of(seconds)
    return Report(
        machine=machine,
        rows=rows,
        ratios=engine_ratios(rows),
        start_ups=started.found,
        agreement={f"{name}, logits off by": off for name, off in trial.furthest.items()},
        absent=(*started.absent, *absent),
        notes=(spread_note(seconds), *_notes(wanted)),
    )


def all_entrants(wanted: EngineBench, starts: StartUpBench, folder: Path) -> Iterator[Entrant]:
    """Ours and, on a CPU, the peers.

    What the service compiled when it was started is not compiled again.
    """
    cache = starts.cache_of("compiled") if "compiled" in starts.engines else wanted.cache_dir
    ours = Ours(
        starts.bundle,
        wanted.device,
        wanted.threads,
        wanted.precisions,
        max_batch=max(wanted.batches),
        cache_dir=cache,
    )
    yield from our_entrants(ours)
    if wanted.device.type == "cpu":
        pixels = _random_pixels(CALIBRATION_IMAGES, wanted.spec.input_px)
        peers = Peers(
            starts.bundle, folder, wanted.threads, wanted.precisions, wanted.peer_forms, pixels
        )
        yield from peer_entrants(peers)


class Trial:
    """What every entrant must compute: the logits of the network as it is, in fp32.

    Args:
        bundle: the network with SGE.

    Attributes:
        furthest: how far the logits of entrants were from that at most, relative to their length,
            by engine and precision.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._logits: dict[tuple[str, int], Logits] = {}
        self.furthest: dict[str, float] = {}

    def pixels(self, batch: int) -> Pixels:
        """Noise of the size that the network sees, the same each time."""
        return _random_pixels(batch, self._bundle.manifest.input.size_px)

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


def admit(
    entrants: Iterable[Entrant], trial: Trial, batches: Sequence[int], note: Note
) -> tuple[list[Contestant], list[Absent]]:
    """Build the entrants and run each batch size once; what fails or errs is left out."""
    contestants: list[Contestant] = []
    absent: list[Absent] = []
    for entrant in entrants:
        sizes = [size for size in batches if entrant.only_batch in (None, size)]
        if not sizes:
            continue
        note(f"building {entrant}")
        try:
            contestants += _built(entrant, trial, sizes)
        except _REFUSALS as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            absent.append(Absent(str(entrant), reason))
    return contestants, absent


def _built(entrant: Entrant, trial: Trial, batches: Sequence[int]) -> list[Contestant]:
    runner = entrant.build()
    contestants = []
    for batch in batches:
        pixels = trial.pixels(batch)
        trial.check(entrant, pixels, runner(pixels))  # compiles for this size
        label = Label(entrant.engine, entrant.model, entrant.precision, batch)
        contestants.append(Contestant(label, functools.partial(runner, pixels)))
    return contestants


def _random_pixels(batch: int, side_px: int) -> Pixels:
    return np.random.default_rng(batch).integers(0, 256, (batch, 3, side_px, side_px), np.uint8)


def _starts(wanted: EngineBench, bundle: Bundle, folder: Path) -> StartUpBench:
    on_gpu = ("tensorrt",) if wanted.device.type == "cuda" else ()
    names = (*STARTED, *on_gpu) if wanted.with_start_up else ()
    halves = [name for name in wanted.precisions if name in DTYPES and name != "fp32"]
    return StartUpBench(
        bundle=bundle,
        engines=tuple(n for n in names if not wanted.engines or n in wanted.engines),
        precision=[*halves, "fp32"][0],
        device=wanted.device.type,
        threads=wanted.threads,
        max_batch=max(wanted.batches),
        folder=folder,
    )


def _notes(wanted: EngineBench) -> Iterator[str]:
    yield (
        "random weights; every row's logits agree with eager fp32 of the network as written within "
        + ", ".join(f"{TOLERANCES[p]:g} ({p})" for p in wanted.precisions if p in TOLERANCES)
    )
    if "int8" not in wanted.precisions and wanted.device.type == "cpu":
        yield "int8 was left out"
    if "bf16" not in wanted.precisions and not has_native_bf16():
        yield "bf16 was left out: this processor only emulates it (--precisions bf16 measures it)"
    if wanted.device.type != "cpu":
        yield "the peers run on the CPU and were left out"
    if not wanted.with_start_up:
        yield "start-up was not measured"
