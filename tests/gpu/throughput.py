"""How fast the compiled engine is, beside what it has to be measured against."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from service.engines.base import Row
from tests.bench.networks import PLAIN, graph_of
from tests.bench.ours import compiled_per_shape
from tests.bench.report import Label
from tests.bench.report import Row as Rates
from tests.bench.rounds import Contestant, Pace, measure
from tests.gpu.runner import Figures
from tests.gpu.scene import Scene, infer, kept

BATCHES = (1, 8, 32)
ROUNDS = 7


def throughput(scene: Scene) -> Figures:
    """Measure it by turns with the eager engine, plain ResNet compiled, and itself with masks."""
    precision = scene.precisions[-1]
    compiled, eager = kept(scene.compiled(precision)), scene.eager(precision)
    plain = plain_runner(scene, precision)
    figures: Figures = {"precision": precision}
    for batch in (size for size in BATCHES if size <= scene.max_batch):
        rows = scene.rows(batch)
        rates = _measured(
            {
                "compiled": functools.partial(infer, compiled, rows),
                "eager": functools.partial(infer, eager, rows),
                "plain": functools.partial(plain, rows),
                "masks": functools.partial(infer, compiled, rows, scene.blocks),
            },
            batch,
        )
        ours = rates["compiled"].rounds
        figures[f"compiled, batch {batch}, images/s"] = statistics.median(ours)
        for name, other in (("eager", "eager"), ("plain ResNet", "plain")):
            figures[f"compiled / {name}, batch {batch}"] = _ratio(ours, rates[other].rounds)
        cost = 1 - _ratio(rates["masks"].rounds, ours)
        figures[f"every mask costs, batch {batch}"] = cost
    return figures


def plain_runner(scene: Scene, precision: str) -> Callable[[list[Row]], object]:
    """The same network without SGE, compiled as well as torch does, and waited for."""
    graph = graph_of(scene.model(), PLAIN, precision).to(scene.device)
    recorded = {"triton.cudagraphs": scene.device.type == "cuda"}
    run = compiled_per_shape(graph, recorded)

    def runner(rows: list[Row]) -> object:
        batch = torch.from_numpy(np.stack(rows))
        if scene.device.type == "cuda":
            batch = batch.pin_memory()
        with torch.inference_mode():
            return run(batch.to(scene.device, non_blocking=True)).cpu()

    return runner


def _measured(runs: dict[str, Callable[[], object]], batch: int) -> dict[str, Rates]:
    for run in runs.values():
        run()  # compiles, or finds what fits the size
    contestants = [Contestant(Label(name, "", "", batch), run) for name, run in runs.items()]
    rates = measure(contestants, Pace(ROUNDS, 0.0), time.perf_counter)
    return dict(zip(runs, rates, strict=True))


def _ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> float:
    """Median of the rounds' own ratios: what changes the machine changes no ratio."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
