"""The ratios of a report, from its rows: each the median over rounds of the rounds' own ratios.

The two sides of a round ran within a minute of each other, so a machine that is slow for longer
slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from tests.bench.report import Label, Row

PLAIN, AS_WRITTEN, FUSED = "plain", "as written", "fused"
"""The forms of a network: without SGE; with it, as the paper has it; and rewritten by `fuse`."""

MASKS_LAST, MASKS_ALL = f"{FUSED}, last masks", f"{FUSED}, all masks"
PEERS = ("onnxruntime", "openvino")
HALF_OR_MORE = ("fp32", "bf16", "fp16")
"""The precisions above int8."""

BATCH = 8


def engine_ratios(rows: Iterable[Row]) -> dict[str, float | None]:
    """What `bench engines` is judged by, all at a batch of 8; None where a side is missing."""
    found = _Rows(rows)
    ours = found.best(("compiled", "tensorrt"), FUSED, HALF_OR_MORE)
    int8 = found.of("int8", FUSED, "int8")
    ratios = {
        "ours_over_best_peer_b8": _over(ours, found.best(PEERS, AS_WRITTEN, HALF_OR_MORE)),
        "ours_over_best_peer_given_our_graph_b8": _over(
            ours, found.best(PEERS, FUSED, HALF_OR_MORE)
        ),
        "int8_over_openvino_int8_b8": _over(int8, found.of("openvino", AS_WRITTEN, "int8")),
    }
    for precision in HALF_OR_MORE:
        plain = found.of("compiled", PLAIN, precision)
        fused = found.of("compiled", FUSED, precision)
        ratios |= {
            f"sge_over_plain_{precision}_b8": _over(fused, plain),
            f"as_written_over_plain_{precision}_b8": _over(
                found.of("compiled", AS_WRITTEN, precision), plain
            ),
            f"int8_over_{precision}_b8": _over(int8, fused),
        }
    return ratios | {
        "engine_masks_last_cost_b8": _cost(found.beside(ours, MASKS_LAST), ours),
        "engine_masks_all_cost_b8": _cost(found.beside(ours, MASKS_ALL), ours),
    }


def over(rows: Iterable[Row], ours: Label, theirs: Label) -> float | None:
    """How much faster one row is than another; None where one of them is missing."""
    found = {row.label: row for row in rows}
    return _over(found.get(ours), found.get(theirs))


def cost(rows: Iterable[Row], dearer: Label, bare: Label) -> float | None:
    """The share of speed that one row loses against another; None where one is missing."""
    found = {row.label: row for row in rows}
    return _cost(found.get(dearer), found.get(bare))


class _Rows:
    """Rows at a batch of 8, by what ran."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {
            (row.label.engine, row.label.model, row.label.precision): row
            for row in rows
            if row.label.batch == BATCH
        }

    def of(self, engine: str, model: str, precision: str) -> Row | None:
        return self._rows.get((engine, model, precision))

    def beside(self, row: Row | None, model: str) -> Row | None:
        """The row of the same engine and precision with another model."""
        return row and self.of(row.label.engine, model, row.label.precision)

    def best(self, engines: Iterable[str], model: str, precisions: Iterable[str]) -> Row | None:
        found = [self.of(engine, model, p) for p in precisions for engine in engines]
        there = [row for row in found if row is not None]
        return max(there, key=lambda row: row.images_per_s, default=None)


def _over(ours: Row | None, theirs: Row | None) -> float | None:
    if ours is None or theirs is None:
        return None
    return statistics.median(a / b for a, b in zip(ours.rounds, theirs.rounds, strict=True))


def _cost(dearer: Row | None, bare: Row | None) -> float | None:
    left = _over(dearer, bare)
    return None if left is None else 1 - left
