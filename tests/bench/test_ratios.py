"""The ratios of a report, computed from its rows."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from tests.bench.networks import AS_WRITTEN, FUSED, PLAIN, PLAIN_BY_KERNELS, shipped
from tests.bench.ratios import MASKS_ALL, MASKS_LAST, cost, effective_over_peak, engine_ratios, over
from tests.bench.report import Label, Ratio, Row

MEASURED = {
    ("compiled", PLAIN, "bf16"): 100.0,
    ("compiled", AS_WRITTEN, "bf16"): 60.0,
    ("compiled", FUSED, "bf16"): 95.0,
    ("compiled", MASKS_LAST, "bf16"): 94.05,
    ("compiled", MASKS_ALL, "bf16"): 85.5,
    ("compiled", PLAIN, "fp32"): 40.0,
    ("compiled", FUSED, "fp32"): 38.0,
    ("int8", FUSED, "int8"): 190.0,
    ("onnxruntime", AS_WRITTEN, "fp32"): 38.0,
    ("openvino", AS_WRITTEN, "bf16"): 50.0,
    ("openvino", AS_WRITTEN, "int8"): 95.0,
    ("openvino", FUSED, "bf16"): 76.0,
}


def rows(batch: int = 8) -> list[Row]:
    """What was measured, at one batch size."""
    return [
        Row(Label(engine, model, precision, batch), (speed,), 1000 * batch / speed)
        for (engine, model, precision), speed in MEASURED.items()
    ]


def test_the_ratios_are_those_of_the_rows() -> None:
    """Ours against plain, against itself in int8, and against the best peer on the same net."""
    ratios = engine_ratios(rows())

    assert {name: ratio and ratio.value for name, ratio in ratios.items()} == pytest.approx(
        {
            "ours_over_best_peer_b1": None,
            "ours_over_best_peer_b8": 1.9,
            "ours_over_best_peer_b32": None,
            "ours_over_best_peer_given_our_graph_b8": 1.25,
            "best_over_best_peer_b8": 2.0,
            "shipped_over_onnxruntime_b1": None,
            "shipped_over_onnxruntime_b16": None,
            "sge_over_plain_b8": 0.95,
            "sge_over_plain_bf16_b8": 0.95,
            "as_written_over_plain_bf16_b8": 0.6,
            "int8_over_bf16_b8": 2.0,
            "sge_over_plain_fp32_b8": 0.95,
            "as_written_over_plain_fp32_b8": None,
            "int8_over_fp32_b8": 5.0,
            "sge_over_plain_fp16_b8": None,
            "as_written_over_plain_fp16_b8": None,
            "int8_over_fp16_b8": None,
            "int8_over_openvino_int8_b8": 2.0,
            "engine_masks_last_cost_b8": 0.01,
            "engine_masks_all_cost_b8": 0.1,
            "engine_attribution_cost_b8": None,
        }
    )


@pytest.mark.parametrize(("batch", "known"), [(1, {"b1"}), (32, {"b32"}), (2, set())])
def test_a_ratio_is_of_the_batch_in_its_name(batch: int, known: set[str]) -> None:
    """Without rows of that batch it is unknown."""
    ratios = engine_ratios(rows(batch))

    measured = {name for name, ratio in ratios.items() if ratio is not None}
    assert measured == {f"ours_over_best_peer_{size}" for size in known}


@pytest.mark.parametrize(("by_kernels", "ratio"), [(76.0, 0.5), (20.0, 0.95)])
def test_sge_is_compared_with_the_faster_plain_network(by_kernels: float, ratio: float) -> None:
    """What our kernels give both networks is no gain of SGE's."""
    plain = Row(Label("compiled", PLAIN_BY_KERNELS, "fp32", 8), (by_kernels,), 1.0)
    in_fp32 = [row for row in rows() if row.label.precision == "fp32"]

    assert engine_ratios([*in_fp32, plain])["sge_over_plain_b8"] == Ratio(ratio, ratio, ratio)


def test_sge_is_compared_in_the_fastest_precision_that_both_ran_in() -> None:
    """A fused network in fp16 says nothing where the plain one was not measured in it."""
    alone = Row(Label("compiled", FUSED, "fp16", 8), (400.0,), 1.0)
    quicker = Row(Label("compiled", FUSED, "fp32", 8), (100.0,), 1.0)
    others = [row for row in rows() if row.label != quicker.label]

    assert engine_ratios([*others, alone, quicker])["sge_over_plain_b8"] == Ratio(2.5, 2.5, 2.5)


def test_a_missing_side_makes_no_ratio() -> None:
    """Nothing is invented for a row that is not there."""
    here, there = Label("a", "net", "fp32", 1), Label("b", "net", "fp32", 1)
    found = [Row(here, (10.0,), 100.0)]

    assert (over(found, here, there), cost(found, here, None)) == (None, None)


def test_sides_are_compared_within_a_round() -> None:
    """A machine that changes changes no ratio: medians of either side would say 1.6 here.

    What is lost is the rest of that, and its spread that of the rounds.
    """
    one, other = Label("a", "net", "fp32", 1), Label("b", "net", "fp32", 1)
    rows = [Row(one, (8.0, 20.0, 40.0), 50.0), Row(other, (10.0, 12.5, 80.0), 80.0)]

    assert [row.images_per_s for row in rows] == [20.0, 12.5]
    assert over(rows, one, other) == Ratio(0.8, lowest=0.5, highest=1.6)
    lost = cost(rows, one, other)
    assert lost is not None
    assert astuple(lost) == pytest.approx((0.2, -0.6, 0.5))


def test_masks_are_compared_on_the_engine_that_is_best() -> None:
    """On a GPU that may be TensorRT's."""
    best = [
        Row(Label("tensorrt", model, "fp16", 8), (speed,), 1.0)
        for model, speed in ((FUSED, 200.0), (MASKS_LAST, 150.0))
    ]

    ratios = engine_ratios([*rows(), *best])

    assert ratios["engine_masks_last_cost_b8"] == Ratio(0.25, 0.25, 0.25)
    assert ratios["engine_masks_all_cost_b8"] is None


def test_the_shipped_network_is_compared_with_onnxruntimes_better_row() -> None:
    """It may be given our graph, and rows of another network do not count."""
    rows_of_16 = [
        Row(Label(engine, model, "fp32", 16), (speed,), 1.0)
        for engine, model, speed in (
            ("compiled", shipped(FUSED), 600.0),
            ("onnxruntime", shipped(AS_WRITTEN), 300.0),
            ("onnxruntime", shipped(FUSED), 400.0),
            ("onnxruntime", FUSED, 500.0),
            ("openvino", shipped(FUSED), 500.0),
        )
    ]

    ratios = engine_ratios(rows_of_16)

    assert ratios["shipped_over_onnxruntime_b16"] == Ratio(1.5, 1.5, 1.5)
    assert ratios["shipped_over_onnxruntime_b1"] is None


def test_the_effective_rate_is_told_against_the_peak() -> None:
    """Round by round; without the row or the peak it is unknown."""
    fused = Row(Label("compiled", FUSED, "fp32", 8), (10.0, 20.0, 30.0), 400.0)

    assert effective_over_peak([fused], 8e9, 160.0) == Ratio(1.0, 0.5, 1.5)
    assert effective_over_peak([fused], 8e9, None) is None
    assert effective_over_peak([], 8e9, 160.0) is None
