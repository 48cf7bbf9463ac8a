"""The ratios of a report, from its rows: each the median over rounds of the rounds' own ratios.

The two sides of a round ran within a minute of each other, so a machine that is slow for longer
slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence

from tests.bench.networks import AS_WRITTEN, FUSED, PLAINS, shipped
from tests.bench.report import Label, Ratio, Row

MASKS_LAST, MASKS_ALL = f"{FUSED}, last masks", f"{FUSED}, all masks"
ATTRIBUTION = f"{FUSED}, attribution of 5 classes"
SERVED = ("compiled", "tensorrt")
"""The engines of the service that run the fused network in more than 8 bits."""

PEERS = ("onnxruntime", "openvino")
HALF_OR_MORE = ("fp32", "bf16", "fp16")
"""The precisions above int8."""

ANY_PRECISION = (*HALF_OR_MORE, "int8")
BATCH = 8
PEER_BATCHES = 1, BATCH, 32
SHIPPED_BATCHES = 1, 16

Ratios = dict[str, Ratio | None]
"""By name; None where a side is missing."""


def engine_ratios(rows: Sequence[Row]) -> Ratios:
    """What a bench of engines is judged by; the batch stands in the name."""
    of_shipped = _shipped_over_onnxruntime(rows)
    return _over_peers(rows) | of_shipped | _over_plain(rows) | _of_int8(rows) | _map_costs(rows)


def _over_peers(rows: Sequence[Row]) -> Ratios:
    """Our fused network over the best peer, in the same precisions and in any."""
    ratios = {
        f"ours_over_best_peer_b{batch}": over(
            rows,
            _fastest(rows, SERVED, [FUSED], batch),
            _fastest(rows, PEERS, [AS_WRITTEN], batch),
        )
        for batch in PEER_BATCHES
    }
    ours = _fastest(rows, SERVED, [FUSED])
    best = _fastest(rows, (*SERVED, "int8"), [FUSED], precisions=ANY_PRECISION)
    best_peer = _fastest(rows, PEERS, [AS_WRITTEN], precisions=ANY_PRECISION)
    return ratios | {
        "ours_over_best_peer_given_our_graph_b8": over(rows, ours, _fastest(rows, PEERS, [FUSED])),
        "best_over_best_peer_b8": over(rows, best, best_peer),
    }


def _shipped_over_onnxruntime(rows: Sequence[Row]) -> Ratios:
    """Against its better row: the network as written, or given our graph."""
    forms = [shipped(AS_WRITTEN), shipped(FUSED)]
    return {
        f"shipped_over_onnxruntime_b{batch}": over(
            rows,
            _fastest(rows, SERVED, [shipped(FUSED)], batch),
            _fastest(rows, ("onnxruntime",), forms, batch),
        )
        for batch in SHIPPED_BATCHES
    }


def _over_plain(rows: Sequence[Row]) -> Ratios:
    """The network with SGE over the one without, compiled: in each precision, in the fastest.

    Without it, the faster way of compiling counts.
    """
    plain = {precision: _compiled(rows, precision, *PLAINS) for precision in HALF_OR_MORE}
    both = [precision for precision, label in plain.items() if label]
    fastest = _fastest(rows, ("compiled",), [FUSED], precisions=both)
    ratios = {"sge_over_plain_b8": over(rows, fastest, fastest and plain[fastest.precision])}
    for precision in HALF_OR_MORE:
        fused, as_written = (_compiled(rows, precision, form) for form in (FUSED, AS_WRITTEN))
        ratios |= {
            f"sge_over_plain_{precision}_b8": over(rows, fused, plain[precision]),
            f"as_written_over_plain_{precision}_b8": over(rows, as_written, plain[precision]),
        }
    return ratios


def _of_int8(rows: Sequence[Row]) -> Ratios:
    int8 = Label("int8", FUSED, "int8", BATCH)
    openvino = Label("openvino", AS_WRITTEN, "int8", BATCH)
    return {"int8_over_openvino_int8_b8": over(rows, int8, openvino)} | {
        f"int8_over_{precision}_b8": over(rows, int8, _compiled(rows, precision, FUSED))
        for precision in HALF_OR_MORE
    }


def _map_costs(rows: Sequence[Row]) -> Ratios:
    ours = _fastest(rows, SERVED, [FUSED])
    forms = {"masks_last": MASKS_LAST, "masks_all": MASKS_ALL, "attribution": ATTRIBUTION}
    return {
        f"engine_{name}_cost_b8": cost(
            rows, ours and Label(ours.engine, form, ours.precision, BATCH), ours
        )
        for name, form in forms.items()
    }


def effective_over_peak(
    rows: Iterable[Row], operations: float, peak_gflops: float | None
) -> Ratio | None:
    """How the compiled network's convolutions, as if computed directly, compare with a peak.

    A method that multiplies less than the direct one may pass it. The peak was measured once, so
    the rounds are those of the network.

    Args:
        rows: of a CPU.
        operations: of all convolutions on one image: a multiplication and a sum are two.
        peak_gflops: of multiply-adds in fp32; None where it is not known.
    """
    fused = Label("compiled", FUSED, "fp32", BATCH)
    rounds = {row.label: row.rounds for row in rows}.get(fused)
    if rounds is None or peak_gflops is None:
        return None
    ratios = [rate * operations / 1e9 / peak_gflops for rate in rounds]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


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


def _compiled(rows: Iterable[Row], precision: str, *models: str) -> Label | None:
    return _fastest(rows, ("compiled",), models, precisions=(precision,))


def _fastest(
    rows: Iterable[Row],
    engines: Collection[str],
    models: Collection[str],
    batch: int = BATCH,
    precisions: Collection[str] = HALF_OR_MORE,
) -> Label | None:
    def may_be(label: Label) -> bool:
        is_of_them = label.engine in engines and label.precision in precisions
        return is_of_them and label.model in models and label.batch == batch

    found = [row for row in rows if may_be(row.label)]
    return max(found, key=lambda row: row.images_per_s).label if found else None
