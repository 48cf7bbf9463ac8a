"""The ratios of a report, from its rows."""

from __future__ import annotations

from collections.abc import Iterable

from service.bench.report import Label, Row

PLAIN, AS_WRITTEN, FUSED = "plain", "as written", "fused"
"""The forms of a network: without SGE; with it, as the paper has it; and rewritten by `fuse`."""

MASKS_LAST, MASKS_ALL = f"{FUSED}, last masks", f"{FUSED}, all masks"
PEERS = ("onnxruntime", "openvino")
HALF_OR_MORE = ("fp32", "bf16", "fp16")
"""The precisions above int8."""

BATCH = 8


def engine_ratios(rows: Iterable[Row]) -> dict[str, float | None]:
    """What `bench engines` is judged by, all at a batch of 8; None where a side is missing."""
    speeds = _Speeds(rows)
    ours = speeds.best(("compiled", "tensorrt"), FUSED, HALF_OR_MORE)
    int8 = speeds.of("int8", FUSED, "int8")
    ratios = {
        "ours_over_best_peer_b8": _over(ours, speeds.best(PEERS, AS_WRITTEN, HALF_OR_MORE)),
        "ours_over_best_peer_given_our_graph_b8": _over(
            ours, speeds.best(PEERS, FUSED, HALF_OR_MORE)
        ),
        "int8_over_openvino_int8_b8": _over(int8, speeds.of("openvino", AS_WRITTEN, "int8")),
    }
    for precision in ("bf16", "fp32"):
        plain = speeds.of("compiled", PLAIN, precision)
        fused = speeds.of("compiled", FUSED, precision)
        ratios |= {
            f"sge_over_plain_{precision}_b8": _over(fused, plain),
            f"as_written_over_plain_{precision}_b8": _over(
                speeds.of("compiled", AS_WRITTEN, precision), plain
            ),
            f"int8_over_{precision}_b8": _over(int8, fused),
        }
    best = speeds.best_precision("compiled", FUSED, HALF_OR_MORE)
    bare = speeds.of("compiled", FUSED, best)
    return ratios | {
        "engine_masks_last_cost_b8": _cost(speeds.of("compiled", MASKS_LAST, best), bare),
        "engine_masks_all_cost_b8": _cost(speeds.of("compiled", MASKS_ALL, best), bare),
    }


def over(rows: Iterable[Row], ours: Label, theirs: Label) -> float | None:
    """How much faster one row is than another; None where one of them is missing."""
    speeds = {row.label: row.images_per_s for row in rows}
    return _over(speeds.get(ours), speeds.get(theirs))


def cost(rows: Iterable[Row], dearer: Label, bare: Label) -> float | None:
    """The share of speed that one row loses against another; None where one is missing."""
    speeds = {row.label: row.images_per_s for row in rows}
    return _cost(speeds.get(dearer), speeds.get(bare))


class _Speeds:
    """Images a second at a batch of 8, by what ran."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._speeds = {
            (row.label.engine, row.label.model, row.label.precision): row.images_per_s
            for row in rows
            if row.label.batch == BATCH
        }

    def of(self, engine: str, model: str, precision: str) -> float | None:
        return self._speeds.get((engine, model, precision))

    def best(self, engines: Iterable[str], model: str, precisions: Iterable[str]) -> float | None:
        found = [self.of(engine, model, p) for p in precisions for engine in engines]
        return max((speed for speed in found if speed is not None), default=None)

    def best_precision(self, engine: str, model: str, precisions: Iterable[str]) -> str:
        return max(precisions, key=lambda p: self.of(engine, model, p) or 0.0)


def _over(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours / theirs


def _cost(dearer: float | None, bare: float | None) -> float | None:
    left = _over(dearer, bare)
    return None if left is None else 1 - left
