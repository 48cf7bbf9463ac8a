"""What a running service consists of, put together once and passed to whoever needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector

from service.config import Settings
from service.cores import core_quota, usable_cores
from service.engines.calibration import plan_with_pictures
from service.engines.plan import EnginePlan
from service.images.contract import ImageLimits
from service.images.decode import silence_decoders
from service.metrics import Metrics
from service.serving.admission import Admission
from service.serving.pipeline import Pipeline
from service.serving.served_models import ServedModels
from service.store.load import LoadedModel, StoreContents


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of a service; nothing runs before `models.start`.

    Attributes:
        settings: what the operator decided.
        models: everything that answers.
        admission: how many images and bytes are inside.
        metrics: where the numbers go.
        pipeline: the way of a request through the stages.
        workers: threads that decode pictures and draw masks.
    """

    settings: Settings
    models: ServedModels
    admission: Admission
    metrics: Metrics
    pipeline: Pipeline
    workers: ThreadPoolExecutor


def build_runtime(
    settings: Settings,
    contents: StoreContents,
    plan: Callable[[LoadedModel, Settings], EnginePlan] = plan_with_pictures,
) -> Runtime:
    """Put the parts together, and silence the decoders of this process.

    Args:
        settings: what the operator decided.
        contents: what the store holds.
        plan: chooses a model's engines by the settings.

    Raises:
        BadSetting: a setting that this machine or the store cannot meet.
    """
    silence_decoders()
    metrics = Metrics(CollectorRegistry())
    ProcessCollector(registry=metrics.registry)  # memory, processor time, moment of the start
    workers = ThreadPoolExecutor(settings.decode_threads or usable_cores(core_quota()), "worker")
    admission = Admission(settings.max_in_flight, settings.bodies_in_flight_bytes, time.monotonic)
    models = ServedModels(
        contents, lambda loaded: plan(loaded, settings), settings=settings, metrics=metrics
    )
    _watch(metrics, models, admission)
    limits = ImageLimits(settings.image_limit_bytes, settings.pixel_limit)
    pipeline = Pipeline(workers, limits)
    return Runtime(settings, models, admission, metrics, pipeline, workers)


def _watch(metrics: Metrics, models: ServedModels, admission: Admission) -> None:
    """Read the state of the parts whenever the metrics are read."""
    metrics.permits_limit.set(admission.limit)
    metrics.permits_in_use.set_function(lambda: admission.in_use)
    metrics.body_bytes_limit.set(admission.limit_bytes)
    metrics.body_bytes_in_use.set_function(lambda: admission.in_use_bytes)
    metrics.ready.set_function(lambda: models.are_ready and not admission.is_draining)
    metrics.broken_versions.set_function(lambda: len(models.broken))
