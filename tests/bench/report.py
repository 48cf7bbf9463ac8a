"""What a bench found, and its JSON form."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

RATIOS = (
    "sge_over_plain_bf16_b8",
    "ours_over_best_peer_b8",
    "int8_over_bf16_b8",
    "service_over_engine_tensor",
    "service_over_engine_jpeg",
    "masks_last_cost",
    "masks_all_cost",
)
"""The ratios that every report names; one that a run did not measure is null."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a bench ran.

    Attributes:
        isa: the instruction sets that torch knows of.
        threads: of one forward pass.
        native_bf16: whether the processor multiplies bf16; elsewhere it is emulated.
        peak_gflops: by precision, the best rate of a matrix product on the CPU.
        versions: of what took part, by the name of its distribution.
        network: the shapes of the network, where one ran.
    """

    cpu: str
    cores: int | None
    isa: tuple[str, ...]
    memory_gb: float | None
    gpu: str | None
    system: str
    threads: int
    native_bf16: bool
    peak_gflops: Mapping[str, float]
    versions: Mapping[str, str]
    network: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """What a row is about.

    Attributes:
        engine: what ran.
        model: which form of the network, or which picture.
        precision: `fp32`, `bf16`, `fp16`, `int8`; `uint8` where nothing but pixels is computed.
        batch: images at a time.
    """

    engine: str
    model: str
    precision: str
    batch: int

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}, {self.model}, batch {self.batch}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        label: what it is about.
        rounds: images a second, one number a round; rounds of rows of a report belong together.
        ms_p50: the median time of a run.
    """

    label: Label
    rounds: tuple[float, ...]
    ms_p50: float

    @property
    def images_per_s(self) -> float:
        """Of the median round."""
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class StartUp:
    """What starting the service cost.

    Attributes:
        engine: the engine that was waited for.
        cache: what the folder of compiled engines held: `empty` or `full`.
        ready_s: from the start of the process until its engine was warm.
        answered_s: until the answer to the first picture.
        memory_peak_mb: of the process; None where the system does not tell.
    """

    engine: str
    cache: str
    ready_s: float
    answered_s: float
    memory_peak_mb: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """What one kind of kernel takes of a forward pass.

    Attributes:
        model: which form of the network.
        name: of the kind.
        ms: of a pass, all kernels of the kind together.
        share: of the pass.
        gflops: 1e9 operations a second, where they are counted.
    """

    model: str
    name: str
    ms: float
    share: float
    gflops: float | None


@dataclass(frozen=True, slots=True)
class Absent:
    """What was asked for and not measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run.

    Attributes:
        ratios: what was measured; `as_json` adds the names of `RATIOS` that were not.
        parts: where the time of a forward pass goes.
        agreement: how far results are from their reference, by what was compared.
        notes: what a reader must know to read the figures.
    """

    machine: Machine
    rows: tuple[Row, ...]
    ratios: Mapping[str, float | None]
    start_ups: tuple[StartUp, ...] = ()
    parts: tuple[Part, ...] = ()
    agreement: Mapping[str, float] = field(default_factory=dict)
    absent: tuple[Absent, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` writes."""
        return {
            "machine": asdict(self.machine),
            "rows": [
                asdict(row.label)
                | {"images_per_s": row.images_per_s, "ms_p50": row.ms_p50}
                | {"rounds_images_per_s": list(row.rounds)}
                for row in self.rows
            ],
            "ratios": dict.fromkeys(RATIOS) | dict(self.ratios),
            "start_ups": [asdict(start_up) for start_up in self.start_ups],
            "parts": [asdict(part) for part in self.parts],
            "agreement": dict(self.agreement),
            "absent": [asdict(absent) for absent in self.absent],
            "notes": list(self.notes),
        }
