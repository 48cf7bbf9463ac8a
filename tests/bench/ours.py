"""Our side of a bench of engines: three forms of one network, eagerly and through our engines."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch._inductor import config as inductor_config

from service.config import EngineName, Settings
from service.engines.base import Engine
from service.engines.calibration import plan_with_pictures
from service.engines.device import DTYPES
from service.images.contract import InputContract
from service.model.graph import InferenceGraph
from service.model.resnet import FEATURES
from service.results.attribution_request import BestClasses
from service.serving.served_model import classifier_of
from service.store.load import LoadedModel
from tests.bench.entrants import (
    CannotRun,
    EngineBench,
    Entrant,
    Logits,
    Pixels,
    Runner,
    random_pixels,
)
from tests.bench.networks import AS_WRITTEN, FORMS, FUSED, PLAIN, PLAIN_BY_KERNELS, graph_of
from tests.bench.programs import compiled_program, plain_by_kernels
from tests.bench.ratios import ATTRIBUTION, BATCH, MASKS_ALL, MASKS_LAST

TENSORRT_PRECISION = "fp16"  # what the service takes by itself
CALIBRATION_IMAGES = 32

Kind = tuple[EngineName, str]
"""An engine of the service and its precision."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What our entrants share.

    Attributes:
        wanted: what is to be measured.
        model: the network with SGE; the one without it has the same weights.
        settings: of the service whose engines are measured.
        builds: what fills the cache folder ahead; others compile in this process.
    """

    wanted: EngineBench
    model: LoadedModel
    settings: Settings
    builds: Mapping[Kind, Future[None]] = field(default_factory=dict)

    def loaded(self, kind: Kind) -> Engine:
        """An engine of the service, as soon as the folder holds it.

        Raises:
            BadSetting: it does not run here.
            EngineFailed: the process that compiles failed.
            OSError: that could not be started.
        """
        if kind in self.builds:
            self.builds[kind].result()
        engine = plan_with_pictures(self.model, settings_for(self.settings, kind)).final
        engine.load()
        return engine


def settings_for(settings: Settings, kind: Kind) -> Settings:
    """The settings under which the service serves by one engine."""
    engine, precision = kind
    own = "auto" if engine == "int8" else precision  # int8 has one of its own
    return settings.model_copy(update={"engine": engine, "precision": own})


def our_entrants(ours: Ours) -> Iterator[Entrant]:
    """Eager and compiled, each form of the network; masks; of the fused one int8 or TensorRT."""
    for form in FORMS:
        build = functools.partial(_eager, ours, form)
        yield Entrant("eager", form, "fp32", build)
    for precision in ours.wanted.precisions:
        if precision not in DTYPES:
            continue
        for form in (PLAIN, AS_WRITTEN):
            build = functools.partial(_compiled, ours, form, precision)
            yield Entrant("compiled", form, precision, build, way="per shape")
        if (ours.wanted.device.type, precision) == ("cpu", "fp32"):  # what the kernels know
            build = functools.partial(_plain_by_kernels, ours.model)
            yield Entrant("compiled", PLAIN_BY_KERNELS, precision, build, way="a package")
        yield from _with_masks(ours, ("compiled", precision))
    if ours.wanted.device.type == "cuda":
        yield from _with_masks(ours, ("tensorrt", TENSORRT_PRECISION))
    if "int8" in ours.wanted.precisions:
        loaded = functools.partial(ours.loaded, ("int8", "int8"))
        build = functools.partial(engine_runner, loaded)
        yield Entrant("int8", FUSED, "int8", build)


def _with_masks(ours: Ours, kind: Kind) -> Iterator[Entrant]:
    """An engine of the service: without maps, with masks of one or every block, attribution."""
    loaded = functools.cache(functools.partial(ours.loaded, kind))  # the first builds it
    every_block = [block.name for block in ours.model.manifest.spec.blocks()]
    engine, precision = kind
    for form, blocks, only_batch in (
        (FUSED, [], None),
        (MASKS_LAST, every_block[-1:], BATCH),
        (MASKS_ALL, every_block, BATCH),
    ):
        build = functools.partial(engine_runner, loaded, frozenset(blocks))
        yield Entrant(engine, form, precision, build, only_batch, way=form)
    build = functools.partial(_attributing_runner, loaded, ours.model)
    yield Entrant(engine, ATTRIBUTION, precision, build, BATCH, way=ATTRIBUTION)


def engine_runner(loaded: Callable[[], Engine], blocks: frozenset[str] = frozenset()) -> Runner:
    """Load an engine of the service, and call it as the service does."""
    engine = loaded()
    return lambda pixels: engine.infer(engine.collate(list(pixels)), blocks).logits


def _attributing_runner(loaded: Callable[[], Engine], model: LoadedModel) -> Runner:
    """An engine of the service, and the evidence for the best classes of every image."""
    engine, classifier, best = loaded(), classifier_of(model), BestClasses(5)

    def runner(pixels: Pixels) -> Logits:
        outputs = engine.infer(engine.collate(list(pixels)), frozenset({FEATURES}))
        if outputs.features is None:
            raise CannotRun("the engine gives no features")
        for logits, features in zip(outputs.logits, outputs.features, strict=True):
            classifier.evidence(features, best.indices(logits))
        return outputs.logits

    return runner


def _eager(ours: Ours, form: str) -> Runner:
    graph = graph_of(ours.model, form, "fp32").to(ours.wanted.device)
    return _on_device(lambda pixels: graph(pixels).logits, ours.wanted.device)


def _compiled(ours: Ours, form: str, precision: str) -> Runner:
    """A graph that the service does not serve, compiled as well as its own.

    On a GPU it is recorded as the service's own is.
    """
    graph = graph_of(ours.model, form, precision).to(ours.wanted.device)
    run = compiled_per_shape(graph, {"triton.cudagraphs": ours.wanted.device.type == "cuda"})
    return _on_device(run, ours.wanted.device)


def _plain_by_kernels(model: LoadedModel) -> Runner:
    program = compiled_program(plain_by_kernels(model))

    def runner(pixels: Pixels) -> Logits:
        logits, _ = program([torch.from_numpy(pixels)])
        return logits.numpy()

    return runner


def compiled_per_shape(
    graph: InferenceGraph, options: dict[str, Any]
) -> Callable[[Tensor], Tensor]:
    """Compile a graph: pixels in, logits out; the first run of each shape compiles."""
    return torch.compile(  # type: ignore[call-overload,no-any-return]  # stubs lag behind
        lambda pixels: graph(pixels).logits,
        fullgraph=True,
        dynamic=False,
        options=options,
        isolate_recompiles=True,  # otherwise all forms share one limit of recompilations
    )


def _on_device(run: Callable[[Tensor], Tensor], device: torch.device) -> Runner:
    """Run a graph on a device, and wait for it."""

    def runner(pixels: Pixels) -> Logits:
        # Dynamo asks for freezing while it traces: the first run of each shape.
        with torch.inference_mode(), inductor_config.patch(freezing=True):
            return run(torch.from_numpy(pixels).to(device)).cpu().numpy()

    return runner


def build_ahead(builds: Mapping[Kind, Callable[[], None]]) -> dict[Kind, Future[None]]:
    """Begin to build, one after another, while this process builds what only it can.

    The thread does not hold up the process's end. Who waits for a build is told of its failure.
    """
    ahead: dict[Kind, Future[None]] = {kind: Future() for kind in builds}

    def work() -> None:
        for kind, build in builds.items():
            try:
                ahead[kind].set_result(build())
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody waits for ever
                ahead[kind].set_exception(error)

    threading.Thread(target=work, name="builds ahead", daemon=True).start()
    return ahead


def write_noise(folder: Path, contract: InputContract) -> Path:
    """Fill a new folder with pictures of noise, the same each time, by which int8 is calibrated.

    They need no scaling. Noise is also what engines are measured on.
    """
    side_px = contract.shorter_side_px or contract.size_px
    folder.mkdir()
    for index, pixels in enumerate(random_pixels(CALIBRATION_IMAGES, side_px)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{index:02}.bmp")
    return folder
