"""A network like the one that ships, beside that of a bench of engines: against ONNX Runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tests.bench.entrants import EngineBench, Entrant
from tests.bench.networks import AS_WRITTEN, FUSED, SHIPPED, shipped
from tests.bench.ratios import SHIPPED_BATCHES

_TAKE_PART = {("compiled", FUSED), ("onnxruntime", AS_WRITTEN), ("onnxruntime", FUSED)}


def bench_of_shipped(wanted: EngineBench) -> EngineBench:
    """What is to be measured of it: the same, at its own sizes."""
    return dataclasses.replace(
        wanted, spec=SHIPPED, batches=SHIPPED_BATCHES, peer_forms=(AS_WRITTEN, FUSED)
    )


def shipped_entrants(found: Iterator[Entrant]) -> Iterator[Entrant]:
    """Of all who could run it those that are compared, under names that no other row has."""
    for entrant in found:
        if (entrant.engine, entrant.model) in _TAKE_PART:
            model = shipped(entrant.model)
            yield dataclasses.replace(entrant, model=model, way=f"{entrant.way}, shipped")
