"""`make bench ARGS=engines`: one network in three forms, on our engines and on their peers."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import torch

from service.config import Settings
from service.engines.background_build import BackgroundBuild
from service.engines.device import DTYPES
from tests.bench.entrants import (
    TOLERANCES,
    Admitted,
    EngineBench,
    Entrant,
    Note,
    Time,
    Trial,
    admit,
)
from tests.bench.machine import MULTIPLY_ADDS, describe, has_native_bf16
from tests.bench.networks import (
    SHIPPED,
    SHIPPED_NAME,
    convolution_operations,
    input_of,
    random_model,
)
from tests.bench.ours import Kind, Ours, build_ahead, our_entrants, settings_for, write_noise
from tests.bench.peers import LIBRARIES, peer_entrants
from tests.bench.ratios import effective_over_peak, engine_ratios
from tests.bench.report import Ratio, Report, Row
from tests.bench.rounds import Clock, measure, note_on_rounds
from tests.bench.shipped import bench_of_shipped, shipped_entrants
from tests.bench.start_up import bench_start_up


def bench_engines(wanted: EngineBench, note: Note, clock: Clock) -> Report:
    """Build every contestant, check that it computes the same, and let all run in turn."""
    torch.set_num_threads(wanted.threads)
    machine = describe(wanted.threads, LIBRARIES, wanted.spec, clock)
    with tempfile.TemporaryDirectory(prefix="sge-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        settings = settings_in(folder, wanted)
        model = random_model(wanted.spec, settings.model_store)
        started, not_started = bench_start_up(settings, _started(wanted), note, clock)
        builds = builds_for(wanted, settings, model.key, {start.engine for start in started})
        ours = Ours(wanted, model, settings, build_ahead(builds))
        time = Time(wanted.pace, clock)
        admitted: list[Admitted] = []
        if wanted.with_shipped:  # first: meanwhile what the others wait for is built
            admitted.append(_admit_shipped(wanted, folder / "shipped", note, time))
        entrants = entrants_for(ours, folder)
        admitted.append(admit(entrants, Trial(model), wanted.batches, note, time))
        wait(ours.builds.values())  # nothing runs beside the measurement
    contestants = [contestant for one in admitted for contestant in one.contestants]
    contestants.sort(key=lambda contestant: contestant.label.batch)  # who is compared, neighbours
    note(f"{len(contestants)} contestants run in turn")
    rows = measure(contestants, wanted.pace, clock)
    return Report(
        machine=machine,
        rows=rows,
        ratios=engine_ratios(rows) | {"effective_over_peak_b8": _effective(rows, wanted, machine)},
        start_ups=started,
        agreement={
            f"{name}, logits off by": off for one in admitted for name, off in one.furthest.items()
        },
        absent=[*not_started, *(absent for one in admitted for absent in one.absent)],
        notes=(note_on_rounds(rows), *_notes(wanted)),
    )


def _effective(
    rows: Sequence[Row], wanted: EngineBench, machine: Mapping[str, Any]
) -> Ratio | None:
    if wanted.device.type != "cpu":
        return None
    peak = machine["peak_gflops"][MULTIPLY_ADDS]
    return effective_over_peak(rows, convolution_operations(wanted.spec), peak)


def _admit_shipped(wanted: EngineBench, folder: Path, note: Note, time: Time) -> Admitted:
    """Those who run a network like the one that ships; nothing is built ahead for them."""
    own = bench_of_shipped(wanted)
    folder.mkdir()
    settings = settings_in(folder, own)
    model = random_model(own.spec, settings.model_store)
    entrants = shipped_entrants(entrants_for(Ours(own, model, settings), folder))
    return admit(entrants, Trial(model, SHIPPED_NAME), own.batches, note, time)


def settings_in(folder: Path, wanted: EngineBench) -> Settings:
    """The settings of a service that keeps everything in one folder.

    Its precision is the one that start-up is measured in.
    """
    halves = [name for name in wanted.precisions if name in DTYPES and name != "fp32"]
    values: dict[str, Any] = {
        "model_store": folder / "store",
        "cache_dir": folder / "cache",
        "calibration_dir": write_noise(folder / "pictures", input_of(wanted.spec)),
        "precision": [*halves, "fp32"][0],
        "device": wanted.device.type,
        "threads": wanted.threads,
        "max_batch": max(wanted.batches),
        "tiered": False,
        "log_level": "error",
    }
    return Settings.model_construct(**values)  # what the environment says is of another service


def builds_for(
    wanted: EngineBench, settings: Settings, model: str, started: Collection[str]
) -> dict[Kind, Callable[[], None]]:
    """What is compiled beside this process, on a CPU: all but what a start has left in the cache.

    `started` names the engines of such starts, `model` is `name/version` in the store.
    """
    builds: dict[Kind, Callable[[], None]] = {}
    for precision in wanted.precisions if wanted.device.type == "cpu" else ():
        kind: Kind = ("int8" if precision == "int8" else "compiled", precision)
        is_built = kind[0] in started and precision == settings.precision
        if wanted.takes(kind[0]) and not is_built:
            build = BackgroundBuild(settings_for(settings, kind), kind[0], model)
            builds[kind] = functools.partial(build, settings.cache_dir)
    return builds


def entrants_for(ours: Ours, folder: Path) -> Iterator[Entrant]:
    """Ours and, on a CPU, the peers; of all of them those that rows are wanted of."""
    found = [*our_entrants(ours)]
    if ours.wanted.device.type == "cpu":
        found += peer_entrants(ours.wanted, ours.model, folder)
    return (entrant for entrant in found if ours.wanted.takes(entrant.engine))


def _started(wanted: EngineBench) -> tuple[str, ...]:
    on_gpu = ("tensorrt",) if wanted.device.type == "cuda" else ()
    names = ("eager", "compiled", *on_gpu) if wanted.with_start_up else ()
    return tuple(name for name in names if wanted.takes(name))


def _notes(wanted: EngineBench) -> Iterator[str]:
    yield (
        "random weights; every row's logits agree with eager fp32 of the network as written within "
        + ", ".join(f"{TOLERANCES[p]:g} ({p})" for p in wanted.precisions if p in TOLERANCES)
    )
    if wanted.with_shipped:
        yield (
            f"'{SHIPPED_NAME}': an SGE-ResNet-18 with the shapes of the model that ships, "
            f"{SHIPPED.input_px} px; only against ONNX Runtime"
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
