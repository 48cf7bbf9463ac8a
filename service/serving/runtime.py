"""What a running service consists of, put together once and passed to whoever needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector

from service.config import Settings
from service.cores import core_quota, usable_cores
from service.engines.background_build import program_of
from service.engines.calibration import image_limits, plan_with_pictures
from service.engines.plan import EnginePlan
from service.images.decode import silence_decoders
from service.images.decode_worker import WorkerLimits
from service.metrics import Metrics
from service.serving.admission import Admission
from service.serving.arrival import VersionSource
from service.serving.decode_workers import GRANTED_BYTES, Decoder, DecodeWorkers, MemoryBudget
from service.serving.memory_room import Memory
from service.serving.pipeline import Pipeline
from service.serving.served_models import ServedModels
from service.serving.store_watch import StoreWatch
from service.serving.timer import LoopTimer, Timer
from service.serving.versions import Versions
from service.store.load import LoadedModel, StoreContents
from service.store.model_store import ModelStore
from service.tracing.tracer import NullTracer, Tracer

WINDOW_MS, NICENESS = 200.0, 10  # of what is in no hurry


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of a service; nothing runs before `models.start`.

    Attributes:
        settings: what the operator decided.
        models: everything that answers.
        versions: changes what answers.
        watch: looks at the store, where the settings want it; started once models are.
        admission: how many images and bytes are inside.
        metrics: where the numbers go.
        pipeline: the way of a request through the stages.
        workers: threads that wait for decoders, and draw masks.
        decoder: turns files into pixels; it is started and stopped with the service.
        tracer: makes spans; the server stops it.
    """

    settings: Settings
    models: ServedModels
    versions: Versions
    watch: StoreWatch | None
    admission: Admission
    metrics: Metrics
    pipeline: Pipeline
    workers: ThreadPoolExecutor
    decoder: Decoder
    tracer: Tracer


def build_runtime(
    settings: Settings,
    contents: StoreContents,
    plan: Callable[[LoadedModel, Settings], EnginePlan] = plan_with_pictures,
    decoder: Decoder | None = None,
    *,
    source: VersionSource | None = None,
    timer: Timer | None = None,
    memory: Memory | None = None,
    tracer: Tracer | None = None,
) -> Runtime:
    """Put the parts together, and silence the decoders of this process.

    Args:
        settings: what the operator decided.
        contents: what the store holds.
        plan: chooses a model's engines by the settings.
        decoder: turns files into pixels; None: processes do.
        source: where further versions come from; None: the store of the settings.
        timer: rings for looks at the store; None: the event loop's.
        memory: of the machine; None: as it is, and nothing is tidied up.
        tracer: makes spans; None: there are none.

    Raises:
        BadSetting: a setting that this machine or the store cannot meet.
    """
    memory = memory or Memory()
    silence_decoders()
    metrics = Metrics(CollectorRegistry())
    ProcessCollector(registry=metrics.registry)  # memory, processor time, moment of the start
    count = count_workers(settings)
    workers = ThreadPoolExecutor(count, "worker")
    decoder = decoder or _watched_decoders(settings, metrics)
    admission = Admission(settings.max_in_flight, settings.bodies_in_flight_bytes, time.monotonic)
    tracer = tracer or NullTracer()
    models = ServedModels(
        contents,
        lambda loaded: plan(loaded, settings),
        settings=settings,
        metrics=metrics,
        tidy_up=memory.tidy_up,
        tracer=tracer,
    )
    source = source or ModelStore(settings.model_store, settings.model_name, contents.settled)
    versions = Versions(models, source, settings, memory=memory, metrics=metrics)
    every_s = settings.store_poll_s
    watch = None
    if every_s is not None:
        watch = StoreWatch(source.look, versions.refresh, timer or LoopTimer(), every_s)
    _watch(metrics, models, admission)
    pipeline = Pipeline(workers, decoder)
    return Runtime(
        settings, models, versions, watch, admission, metrics, pipeline, workers, decoder, tracer
    )


def build_runtime_for_many(
    settings: Settings, contents: StoreContents, decoder: Decoder | None = None
) -> Runtime:
    """Put the parts together for many pictures none of which is in a hurry.

    Batches wait to be full, and decoders give way to the engine, whose pass waits for the slowest
    of its threads.

    Args:
        settings: what the operator decided.
        contents: what the store holds.
        decoder: turns files into pixels; None: processes do.

    Raises:
        BadSetting: a setting that this machine or the store cannot meet.
    """
    patient = settings.model_copy(update={"window_ms": max(settings.window_ms, WINDOW_MS)})
    budget = MemoryBudget(settings.decoded_limit_bytes)
    decoder = decoder or build_decoders(settings, budget, niceness=NICENESS)
    return build_runtime(patient, contents, decoder=decoder)


def count_workers(settings: Settings) -> int:
    """How many processes decode, and threads wait for them."""
    return settings.decode_workers or usable_cores(core_quota())


def build_decoders(
    settings: Settings,
    budget: MemoryBudget,
    on_loss: Callable[[], None] = lambda: None,
    niceness: int = 0,
) -> DecodeWorkers:
    """Make the processes that decode; they are not started.

    Args:
        settings: how many, and what a picture may be.
        budget: of all of them together.
        on_loss: is told of each that died or was killed.
        niceness: how far they give way to the engine.
    """
    limits = WorkerLimits(image_limits(settings), settings.decode_cpu_s, GRANTED_BYTES, niceness)
    program = program_of("service.images.decode_worker")
    return DecodeWorkers(program, count_workers(settings), limits, budget, on_loss=on_loss)


def _watched_decoders(settings: Settings, metrics: Metrics) -> DecodeWorkers:
    budget = MemoryBudget(settings.decoded_limit_bytes)
    metrics.decoded_bytes_in_use.set_function(lambda: budget.in_use_bytes)
    return build_decoders(settings, budget, metrics.decoders_lost.inc)


def _watch(metrics: Metrics, models: ServedModels, admission: Admission) -> None:
    """Read the state of the parts whenever the metrics are read."""
    metrics.permits_limit.set(admission.limit)
    metrics.permits_in_use.set_function(lambda: admission.in_use)
    metrics.body_bytes_limit.set(admission.limit_bytes)
    metrics.body_bytes_in_use.set_function(lambda: admission.in_use_bytes)
    metrics.ready.set_function(lambda: models.are_ready and not admission.is_leaving)
    metrics.broken_versions.set_function(lambda: len(models.broken))
