"""The service's own measurements, for Prometheus.

Labels come from the service and its operator alone: served models, phases, outcomes, names of keys.
Nothing a client sends becomes a label.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

Phase = Literal["decode", "queue", "infer", "postprocess", "total"]
PHASES: tuple[str, ...] = get_args(Phase)
CloseReason = Literal[
    "idle",
    "slow_handshake",
    "slow_head",
    "head_too_large",
    "malformed_request",
    "pipelined",
    "too_many_connections",
    "unfinished_body",
    "slow_reader",
    "unread_answers",
]
"""Why the service closed a connection on its own account."""
SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0),
)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MODEL = ("model", "version")
NO_MODEL = ("none", "none")  # a request that reached no model
KEY_OUTCOMES = ("ok", "over_share", "error")
RELOADED = ("keys", "certificate", "admin_keys")
LOAD_OUTCOMES = ("ok", "failed", "no_memory")


class Metrics:
    """Every metric of the service, in one registry.

    Args:
        registry: where the metrics are registered; one per service, never the global one.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._keys: frozenset[str] = frozenset()
        self._outcomes: tuple[str, ...] = ()
        self.received = Counter(
            "sge_requests_received", "Prediction requests that came in.", registry=registry
        )
        self.requests = Counter(
            "sge_requests",
            "Prediction requests that left, by outcome: ok or the code of the error.",
            (*MODEL, "outcome"),
            registry=registry,
        )
        self.images = Counter(
            "sge_images", "Images answered with a prediction.", MODEL, registry=registry
        )
        self.phase = Histogram(
            "sge_phase_seconds",
            "Time of a request's phases.",
            (*MODEL, "phase"),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "sge_batch_size", "Images in a batch.", MODEL, buckets=BATCH_SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "sge_batch_seconds",
            "Engine time of a batch.",
            MODEL,
            buckets=SECONDS,
            registry=registry,
        )
        self.expired = Counter(
            "sge_expired_images", "Queued images whose deadline came.", MODEL, registry=registry
        )
        self.disconnected = Counter(
            "sge_disconnected_images",
            "Queued images whose request ended without them: the client hung up, or another of "
            "its images failed.",
            MODEL,
            registry=registry,
        )
        self.rejected = Counter(
            "sge_rejected_requests",
            "Requests refused at the door, by reason.",
            ("reason",),
            registry=registry,
        )
        self.engine_failures = Counter(
            "sge_engine_failures",
            "Images on which the engine failed, or with which in its batch it crashed.",
            MODEL,
            registry=registry,
        )
        self.engine_crashes = Counter(
            "sge_engine_crashes",
            "Crashes of the engine: its thread ended, a call hung, or the device was lost.",
            registry=registry,
        )
        self.engine_restarts = Counter(
            "sge_engine_restarts",
            "Attempts to bring the engine back after its crash.",
            registry=registry,
        )
        self.engine_fallbacks = Counter(
            "sge_engine_fallbacks",
            "Engines that could not be built, so that a slower one serves.",
            MODEL,
            registry=registry,
        )
        self.engine_info = Gauge(
            "sge_engine_info",
            "1 for the engine that serves a model.",
            (*MODEL, "engine", "precision", "device", "tier"),
            registry=registry,
        )
        self.queue_depth = Gauge(
            "sge_queue_depth", "Images that wait for a batch.", MODEL, registry=registry
        )
        self.ready = Gauge("sge_ready", "1 while every model can answer.", registry=registry)
        self.permits_in_use = Gauge(
            "sge_permits_in_use", "Images inside the service.", registry=registry
        )
        self.permits_limit = Gauge(
            "sge_permits_limit", "Images the service holds at most.", registry=registry
        )
        self.body_bytes_in_use = Gauge(
            "sge_body_bytes_in_use", "Bytes of bodies inside the service.", registry=registry
        )
        self.body_bytes_limit = Gauge(
            "sge_body_bytes_limit",
            "Bytes of bodies the service holds at most.",
            registry=registry,
        )
        self.decoders_lost = Counter(
            "sge_decoders_lost",
            "Decoding processes that an image took too much time of, or killed.",
            registry=registry,
        )
        self.decoded_bytes_in_use = Gauge(
            "sge_decoded_bytes_in_use",
            "Memory reserved for large images that are being decoded.",
            registry=registry,
        )
        self.broken_versions = Gauge(
            "sge_broken_versions",
            "Versions asked for that cannot be served; /readyz names them.",
            registry=registry,
        )
        self.version_loads = Counter(
            "sge_version_loads",
            "Versions that were loaded while the service ran, by outcome: ok, failed or no_memory.",
            ("model", "outcome"),
            registry=registry,
        )
        self.version_weight = Gauge(
            "sge_version_weight",
            "Weight of a version among those that share the requests which name none, as set.",
            MODEL,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "sge_loop_lag_seconds",
            "By how much the event loop was late, seen every 50 ms while requests are inside.",
            buckets=SECONDS,
            registry=registry,
        )
        self.connections = Gauge(
            "sge_connections", "Open connections, handshakes among them.", registry=registry
        )
        self.connections_limit = Gauge(
            "sge_connections_limit",
            "Connections that serve more than probes, at most.",
            registry=registry,
        )
        self.closed_connections = Counter(
            "sge_closed_connections",
            "Connections that the service closed on its own account, by reason.",
            ("reason",),
            registry=registry,
        )
        self.unread_answer_bytes = Gauge(
            "sge_unread_answer_bytes",
            "Bytes of answers that clients have not read yet.",
            registry=registry,
        )
        self.unread_answer_bytes_limit = Gauge(
            "sge_unread_answer_bytes_limit",
            "Bytes of unread answers the service holds at most.",
            registry=registry,
        )
        self.key_requests = Counter(
            "sge_key_requests",
            "Requests with an API key that left, by its name and outcome: ok, over_share or error.",
            ("key", "outcome"),
            registry=registry,
        )
        self.failed_reloads = Counter(
            "sge_failed_reloads",
            "Changes of the files of keys or of the certificate that could not be taken over.",
            ("file",),
            registry=registry,
        )
        for reason in get_args(CloseReason):
            self.closed_connections.labels(reason)
        for file in RELOADED:
            self.failed_reloads.labels(file)

    def count_keys(self, names: Collection[str]) -> None:
        """Count the requests of each of these keys, from 0, and no more those of others."""
        before, self._keys = self._keys, frozenset(names)
        for outcome in KEY_OUTCOMES:
            for gone in before - self._keys:
                self.key_requests.remove(gone, outcome)
            for name in self._keys - before:
                self.key_requests.labels(name, outcome)

    def count_key_request(self, key: str, outcome: str) -> None:
        """Count a request of a key by its outcome, unless the key has gone meanwhile."""
        if key in self._keys:
            known = outcome if outcome in KEY_OUTCOMES else "error"
            self.key_requests.labels(key, known).inc()

    def expect_model(self, model: tuple[str, str]) -> None:
        """Expose at 0 what is counted of a model, before any of it happens.

        A rate begins at the second value of a counter: one that appears with its first event
        hides that event.
        """
        counters = (self.images, self.expired, self.disconnected)
        for counter in (*counters, self.engine_failures, self.engine_fallbacks):
            counter.labels(*model)
        for histogram in (self.batch_size, self.batch_seconds):
            histogram.labels(*model)
        for phase in PHASES:
            self.phase.labels(*model, phase)
        for outcome in self._outcomes:
            self.requests.labels(*model, outcome)
        for outcome in LOAD_OUTCOMES:
            self.version_loads.labels(model[0], outcome)

    def forget_model(self, model: tuple[str, str]) -> None:
        """Expose nothing any more of a version that was served once."""
        of_models: tuple[MetricWrapperBase, ...] = (
            *(self.requests, self.images, self.phase, self.batch_size, self.batch_seconds),
            *(self.expired, self.disconnected, self.engine_failures, self.engine_fallbacks),
            *(self.engine_info, self.queue_depth),
        )
        for metric in of_models:
            metric.remove_by_labels(dict(zip(MODEL, model, strict=True)))

    def expect_outcomes(
        self, models: Iterable[tuple[str, str]], outcomes: Iterable[str], reasons: Iterable[str]
    ) -> None:
        """Expose at 0 how requests may end.

        Args:
            models: that answer; beside them stands `NO_MODEL`, and whatever is expected later.
            outcomes: of requests.
            reasons: of refusals at the door.
        """
        self._outcomes = tuple(outcomes)
        for model in (*models, NO_MODEL):
            for outcome in self._outcomes:
                self.requests.labels(*model, outcome)
        for reason in reasons:
            self.rejected.labels(reason)

    def watch_queue(self, model: tuple[str, str], depth: Callable[[], float]) -> None:
        """Read a queue's depth whenever the metrics are read."""
        self.queue_depth.labels(*model).set_function(depth)

    def forget_queue(self, model: tuple[str, str]) -> None:
        """Stop reading the queue of a model that is not served any more, if it has one."""
        with suppress(KeyError):
            self.queue_depth.remove(*model)
