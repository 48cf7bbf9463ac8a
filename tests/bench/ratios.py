"""The ratios of a report, from its rows: each the median over rounds of the rounds' own ratios.

The two sides of a round ran within a minute of each other, so a machine that is slow for longer
slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from tests.bench.networks import AS_WRITTEN, FUSED, PLAIN
from tests.bench.report import Label, Ratio, Row

MASKS_LAST, MASKS_ALL = f"{FUSED}, last masks", f"{FUSED}, all masks"
SERVED = ("compiled", "tensorrt")
"""The engines of the service that run the fused network in more than 8 bits."""

PEERS = ("onnxruntime", "openvino")
HALF_OR_MORE = ("fp32", "bf16", "fp16")
"""The precisions above int8."""

BATCH = 8


def engine_ratios(rows: Sequence[Row]) -> dict[str, Ratio | None]:
    """What a bench of engines is judged by, at a batch of 8; None where a side is missing."""
    ours = _fastest(rows, SERVED, FUSED)
    int8 = Label("int8", FUSED, "int8", BATCH)
    ratios = {
        "ours_over_best_peer_b8": over(rows, ours, _fastest(rows, PEERS, AS_WRITTEN)),
        "ours_over_best_peer_given_our_graph_b8": over(rows, ours, _fastest(rows, PEERS, FUSED)),
        "int8_over_openvino_int8_b8": over(
            rows, int8, Label("openvino", AS_WRITTEN, "int8", BATCH)
        ),
    }
    for precision in HALF_OR_MORE:
        plain, as_written, fused = (
            Label("compiled", form, precision, BATCH) for form in (PLAIN, AS_WRITTEN, FUSED)
        )
        ratios |= {
            f"sge_over_plain_{precision}_b8": over(rows, fused, plain),
            f"as_written_over_plain_{precision}_b8": over(rows, as_written, plain),
            f"int8_over_{precision}_b8": over(rows, int8, fused),
        }
    for name, form in (("last", MASKS_LAST), ("all", MASKS_ALL)):
        with_masks = ours and Label(ours.engine, form, ours.precision, BATCH)
        ratios[f"engine_masks_{name}_cost_b8"] = cost(rows, with_masks, ours)
    return ratios


def over(rows: Iterable[Row], ours: Label | None, theirs: Label | None) -> Ratio | None:
    """How much faster one row is than another; None where one of them is missing."""
    rounds = {row.label: row.rounds for row in rows}
    if ours not in rounds or theirs not in rounds:
        return None
    ratios = [a / b for a, b in zip(rounds[ours], rounds[theirs], strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def cost(rows: Iterable[Row], dearer: Label | None, bare: Label | None) -> Ratio | None:
    """The share of speed that one row loses against another; None where one is missing."""
    left = over(rows, dearer, bare)
    return left and Ratio(1 - left.value, 1 - left.highest, 1 - left.lowest)


def _fastest(rows: Iterable[Row], engines: Sequence[str], model: str) -> Label | None:
    found = [
        row
        for row in rows
        if row.label.engine in engines
        and row.label.precision in HALF_OR_MORE
        and (row.label.model, row.label.batch) == (model, BATCH)
    ]
    return max(found, key=lambda row: row.images_per_s).label if found else None
