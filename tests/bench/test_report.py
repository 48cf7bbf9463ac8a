"""A report as JSON and as text."""

from __future__ import annotations

import json
from dataclasses import replace

import orjson

from tests.bench.report import RATIOS, Absent, Label, Machine, Part, Report, Row, StartUp
from tests.bench.text import WIDTH, render, table

MACHINE = Machine(
    cpu="A processor",
    cores=2,
    isa=("avx2",),
    memory_gb=24.0,
    gpu=None,
    system="a system",
    threads=2,
    native_bf16=False,
    peak_gflops={"fp32": 140.0, "bf16": 7.0},
    versions={"torch": "2.14"},
)
REPORT = Report(
    machine=MACHINE,
    rows=(
        Row(Label("compiled", "fused", "fp32", 8), (31.25, 30.0, 32.0), 256.0),
        Row(Label("onnxruntime", "as written", "fp32", 8), (20.0,), 400.0),
    ),
    ratios={"sge_over_plain_bf16_b8": None, "ours_over_best_peer_b8": 1.5625},
    parts=(Part("fused", "convolutions", 12.5, 0.925, 117.0),),
    start_ups=(StartUp("compiled", "full", 4.5, 4.75, 900.0),),
    agreement={"jpeg": 0.5},
    absent=(Absent("openvino int8, fused", "nncf is not installed"),),
    notes=("random weights " * 20,),
)


def test_the_json_has_the_shape_that_is_promised() -> None:
    """Machine, rows, and every ratio by name."""
    document = json.loads(orjson.dumps(REPORT.as_json()))

    assert document["machine"]["peak_gflops"] == {"fp32": 140.0, "bf16": 7.0}
    assert document["rows"][0] == {
        "engine": "compiled",
        "model": "fused",
        "precision": "fp32",
        "batch": 8,
        "images_per_s": 31.25,
        "ms_p50": 256.0,
        "rounds_images_per_s": [31.25, 30.0, 32.0],
    }
    assert set(document["ratios"]) == set(RATIOS)


def test_a_ratio_that_was_not_measured_is_null() -> None:
    """Its name stands there, without a number."""
    ratios = REPORT.as_json()["ratios"]

    assert {name: value for name, value in ratios.items() if value is not None} == {
        "ours_over_best_peer_b8": 1.5625
    }


def test_the_text_holds_everything_in_100_columns() -> None:
    """Rows, start-up, ratios, what is missing and what to know fit a terminal."""
    text = render(REPORT)

    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "compiled     fused       fp32           8      31.2       256.00" in lines
    assert "(bf16 is emulated)" in text
    assert "ours_over_best_peer_b8  1.562" in text
    assert ["fused", "convolutions", "12.5", "92.5%", "117"] in [x.split() for x in lines]
    assert "absent: openvino int8, fused: nncf is not installed" in text
    assert ["compiled", "full", "4.5", "4.8", "900"] in [line.split() for line in lines]


def test_the_text_of_an_empty_report_says_that_nothing_was_measured() -> None:
    """No table without rows."""
    text = render(replace(REPORT, rows=(), ratios={}, parts=(), start_ups=(), agreement={}))

    assert "images/s" not in text
    assert "not measured: sge_over_plain_bf16_b8, ours_over_best_peer_b8" in text


def test_numbers_stand_right_and_words_left() -> None:
    """Columns line up however long their cells are."""
    assert table([("name", "ms"), ("a", "1.5"), ("longer", "20.0")]) == (
        "name      ms\na        1.5\nlonger  20.0"
    )
