"""Our side of `bench engines`: three forms of one network, eagerly and through our engines."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._inductor import config as inductor_config

from service.engines.aoti.engine import CompiledEngine
from service.engines.aoti.int8 import Calibration, Int8Engine
from service.engines.base import Engine
from service.engines.device import DTYPES
from service.engines.tensorrt.engine import TensorRtEngine
from service.model.fuse import fuse
from service.model.graph import InferenceGraph
from service.store.load import LoadedModel
from tests.bench.ahead import BuildAhead, Kind
from tests.bench.entrants import CannotRun, Entrant, Logits, Pixels, Runner
from tests.bench.networks import without_sge
from tests.bench.ratios import AS_WRITTEN, BATCH, FUSED, MASKS_ALL, MASKS_LAST, PLAIN

FORMS = (PLAIN, AS_WRITTEN, FUSED)
TENSORRT_PRECISION = "fp16"  # what the service takes by itself


@dataclass(frozen=True, slots=True)
class Ours:
    """What our entrants share.

    Attributes:
        model: the network with SGE; the one without it has the same weights.
        device: where they run.
        threads: of one forward pass on a CPU.
        precisions: of the compiled ones.
        max_batch: the largest batch that will come.
        cache_dir: where compiled programs are kept.
        builds: what fills that folder, by engine and precision; others compile in this process.
        calibration: what int8 is calibrated on.
    """

    model: LoadedModel
    device: torch.device
    threads: int
    precisions: tuple[str, ...]
    max_batch: int
    cache_dir: Path
    builds: Mapping[Kind, BuildAhead] = field(default_factory=dict)
    calibration: Calibration | None = None


def our_entrants(ours: Ours) -> Iterator[Entrant]:
    """Eager and compiled, each form of the network; masks; of the fused one int8 or TensorRT."""
    for form in FORMS:
        yield Entrant("eager", form, "fp32", functools.partial(_eager, ours, form))
    for precision in ours.precisions:
        if precision not in DTYPES:
            continue
        for form in (PLAIN, AS_WRITTEN):
            build = functools.partial(_compiled, ours, form, precision)
            yield Entrant("compiled", form, precision, build, way="per shape")
        build_engine = functools.partial(_compiled_engine, ours, precision)
        yield from _engine_entrants(ours, "compiled", precision, build_engine)
    if ours.device.type == "cuda":
        build_engine = functools.partial(_tensorrt_engine, ours)
        yield from _engine_entrants(ours, "tensorrt", TENSORRT_PRECISION, build_engine)
    if "int8" in ours.precisions:
        yield Entrant("int8", FUSED, "int8", functools.partial(_int8, ours))


def graph_of(model: LoadedModel, form: str, precision: str) -> InferenceGraph:
    """One form of a network, uint8 pixels in."""
    contract = model.manifest.input
    forms: dict[str, Callable[[], Any]] = {  # the plain one is called as the others are
        PLAIN: lambda: without_sge(model.network),
        AS_WRITTEN: lambda: copy.deepcopy(model.network),
        FUSED: lambda: fuse(model.network),
    }
    return InferenceGraph(forms[form](), contract.mean, contract.std, DTYPES[precision])


def engine_runner(engine: Engine, blocks: frozenset[str] = frozenset()) -> Runner:
    """Call a loaded engine of the service as the service does."""

    def run(pixels: Pixels) -> Logits:
        return engine.infer(engine.collate(list(pixels)), blocks).logits

    return run


def _engine_entrants(
    ours: Ours, name: str, precision: str, build_engine: Callable[[], Engine]
) -> Iterator[Entrant]:
    """An engine of the service: without masks, with the last block's, with every block's."""
    loaded = functools.cache(build_engine)
    every_block = [block.name for block in ours.model.manifest.spec.blocks()]
    for form, blocks, only_batch in (
        (FUSED, [], None),
        (MASKS_LAST, every_block[-1:], BATCH),
        (MASKS_ALL, every_block, BATCH),
    ):
        build = _EngineBuild(loaded, frozenset(blocks))
        yield Entrant(name, form, precision, build, only_batch, way=form)  # the first builds it


@dataclass(frozen=True, slots=True)
class _EngineBuild:
    """Makes a runner of an engine that several entrants share."""

    loaded: Callable[[], Engine]
    blocks: frozenset[str]

    def __call__(self) -> Runner:
        return engine_runner(self.loaded(), self.blocks)


def _compiled_engine(ours: Ours, precision: str) -> Engine:
    engine = CompiledEngine(
        ours.model,
        ours.device,
        precision,
        ours.threads,
        max_batch=ours.max_batch,
        cache_dir=ours.cache_dir,
        build=ours.builds.get(("compiled", precision)),
    )
    engine.load()
    return engine


def _tensorrt_engine(ours: Ours) -> Engine:
    engine = TensorRtEngine(
        ours.model,
        ours.device,
        TENSORRT_PRECISION,
        max_batch=ours.max_batch,
        cache_dir=ours.cache_dir,
    )
    engine.load()
    return engine


def _int8(ours: Ours) -> Runner:
    if ours.device.type != "cpu":
        raise CannotRun("int8 runs on the CPU alone")
    engine = Int8Engine(
        ours.model,
        ours.threads,
        max_batch=ours.max_batch,
        cache_dir=ours.cache_dir,
        calibration=ours.calibration,
        build=ours.builds.get(("int8", "int8")),
    )
    engine.require_build()
    engine.load()
    return engine_runner(engine)


def _eager(ours: Ours, form: str) -> Runner:
    graph = graph_of(ours.model, form, "fp32").to(ours.device)
    return _GraphRunner(lambda pixels: graph(pixels).logits, ours.device)


def _compiled(ours: Ours, form: str, precision: str) -> Runner:
    """A graph that the service does not serve, compiled as well as its own: frozen, per shape.

    On a GPU it is recorded as the service's own is.
    """
    graph = graph_of(ours.model, form, precision).to(ours.device)
    compiled: Callable[[Tensor], Tensor] = torch.compile(  # type: ignore[call-overload]  # stubs lag behind
        lambda pixels: graph(pixels).logits,
        fullgraph=True,
        dynamic=False,
        options={"triton.cudagraphs": ours.device.type == "cuda"},
        isolate_recompiles=True,  # otherwise all forms share one limit of recompilations
    )
    return _GraphRunner(compiled, ours.device)


class _GraphRunner:
    """Runs a graph on a device, and waits for it."""

    def __init__(self, run: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._run = run
        self._device = device

    def __call__(self, pixels: Pixels) -> Logits:
        # Dynamo asks for freezing while it traces: the first run of each shape.
        with torch.inference_mode(), inductor_config.patch(freezing=True):
            logits = self._run(torch.from_numpy(pixels).to(self._device))
        return logits.cpu().numpy()
