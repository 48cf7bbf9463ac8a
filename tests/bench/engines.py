"""`bench engines`: one network in three forms, on our engines and on their peers."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from service.config import EngineName, Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.background_build import BackgroundBuild, Build
from service.engines.calibration import calibration_pictures
from service.engines.device import DTYPES
from service.model.resnet import ResNetSpec
from service.store.load import LoadedModel
from tests.bench.admission import TOLERANCES, Time, Trial, admit, random_pixels
from tests.bench.ahead import CALIBRATION_IMAGES, Kind, build_ahead, write_noise
from tests.bench.entrants import Entrant, Note
from tests.bench.machine import describe, has_native_bf16
from tests.bench.networks import random_model, write_store
from tests.bench.ours import Ours, our_entrants
from tests.bench.peers import LIBRARIES, Peers, peer_entrants
from tests.bench.ratios import engine_ratios
from tests.bench.report import Report
from tests.bench.rounds import Clock, Pace, measure, rows_of, spread_note
from tests.bench.start_up import STARTED, StartUpBench, bench_start_up

STORE, PICTURES, CACHE = "store", "pictures", "cache"


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
        budget_s: what the whole run may take; entrants whose turn comes too late are left out.
        with_start_up: measure starting the service too.
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
    model = random_model(wanted.spec)
    pace = Pace(wanted.rounds, began + wanted.budget_s)
    with tempfile.TemporaryDirectory(prefix="sge-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        store = write_store(model, folder / STORE)
        starts = _starts(wanted, store, folder)
        started = bench_start_up(starts, note, clock)
        ours = our_share(wanted, model, starts, folder)
        entrants = [
            entrant
            for entrant in all_entrants(wanted, ours, folder)
            if not wanted.engines or entrant.engine in wanted.engines
        ]
        trial = Trial(model)
        contestants, absent = admit(entrants, trial, wanted.batches, note, Time(pace, clock))
        for build in ours.builds.values():
            build.wait()  # nothing runs beside the measurement
    contestants.sort(key=lambda contestant: contestant.label.batch)  # who is compared, neighbours
    note(f"{len(contestants)} contestants run in turn")
    seconds = measure(contestants, pace, clock)
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


def our_share(wanted: EngineBench, model: LoadedModel, starts: StartUpBench, folder: Path) -> Ours:
    """What our engines share; on a CPU those that were not compiled yet begin to be built.

    What the service compiled when it was started is not compiled again.

    Args:
        wanted: what to measure.
        model: the network with SGE.
        starts: which starts of the service were measured.
        folder: where files may be written.
    """
    was_started = CompiledEngine.name in starts.engines
    cache = starts.cache_of(CompiledEngine.name) if was_started else folder / CACHE
    contract = model.manifest.input
    settings = Settings.model_construct(  # what the environment says is a service's
        model_store=starts.store,
        device="cpu",
        threads=wanted.threads,
        max_batch=starts.max_batch,
        calibration_dir=write_noise(
            folder / PICTURES, contract.shorter_side_px or contract.size_px
        ),
        log_level="error",
    )
    builds: dict[Kind, Build] = {}
    for precision in wanted.precisions if wanted.device.type == "cpu" else ():
        engine: EngineName = "int8" if precision == "int8" else "compiled"
        is_built = was_started and precision == starts.precision
        if not is_built and (not wanted.engines or engine in wanted.engines):
            own = {} if engine == "int8" else {"precision": precision}
            build = BackgroundBuild(settings.model_copy(update=own), engine, model.key)
            builds[engine, precision] = build
    return Ours(
        model,
        wanted.device,
        wanted.threads,
        wanted.precisions,
        max_batch=starts.max_batch,
        cache_dir=cache,
        builds=build_ahead(builds, cache),
        calibration=calibration_pictures(settings),
    )


def all_entrants(wanted: EngineBench, ours: Ours, folder: Path) -> Iterator[Entrant]:
    """Ours and, on a CPU, the peers."""
    yield from our_entrants(ours)
    if wanted.device.type == "cpu":
        pixels = random_pixels(CALIBRATION_IMAGES, wanted.spec.input_px)
        peers = Peers(
            ours.model, folder, wanted.threads, wanted.precisions, wanted.peer_forms, pixels
        )
        yield from peer_entrants(peers)


def _starts(wanted: EngineBench, store: Path, folder: Path) -> StartUpBench:
    on_gpu = ("tensorrt",) if wanted.device.type == "cuda" else ()
    names = (*STARTED, *on_gpu) if wanted.with_start_up else ()
    halves = [name for name in wanted.precisions if name in DTYPES and name != "fp32"]
    return StartUpBench(
        store=store,
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
    if wanted.with_start_up:
        yield "memory is the service's own; what it compiles takes more in another process"
    else:
        yield "start-up was not measured"
