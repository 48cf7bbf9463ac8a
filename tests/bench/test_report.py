"""A report as JSON and as text."""

from __future__ import annotations

import json

import orjson

from tests.bench.report import (
    RATIOS,
    WIDTH,
    Absent,
    Label,
    Part,
    Ratio,
    Report,
    Row,
    StartUp,
    as_text,
)

MACHINE = {
    "cpu": "A processor",
    "isa": ["avx2", "fma"],
    "memory_gb": 24.0,
    "gpu": None,
    "peak_gflops": {"fp32": 140.0, "bf16": 7.0},
}
REPORT = Report(
    machine=MACHINE,
    rows=(
        Row(Label("compiled", "fused", "fp32", 8), (31.25, 30.0, 32.0), 256.0),
        Row(Label("onnxruntime", "as written", "fp32", 8), (20.0,), 400.0),
    ),
    ratios={
        "sge_over_plain_b8": None,
        "ours_over_best_peer_b8": Ratio(1.5625, 1.5, 1.6),
    },
    parts=[Part("fused", "convolutions", 12.5, 0.925, 117.0)],
    start_ups=[StartUp("compiled", "full", 4.5, 4.75, None)],
    agreement={"jpeg": 0.5},
    absent=[Absent("openvino int8, fused", "nncf is not installed")],
    notes=("random weights " * 20,),
)


def test_the_json_has_the_shape_that_is_promised() -> None:
    """Machine, rows, and every ratio by name with its spread; what was not measured is null."""
    document = json.loads(orjson.dumps(REPORT.document()))

    assert document["machine"] == MACHINE
    assert document["rows"][0] == {
        "engine": "compiled",
        "model": "fused",
        "precision": "fp32",
        "batch": 8,
        "images_per_s": 31.25,
        "ms_p50": 256.0,
        "rounds_images_per_s": [31.25, 30.0, 32.0],
    }
    unknown = dict.fromkeys(RATIOS)
    assert document["ratios"] == {**unknown, "ours_over_best_peer_b8": 1.5625}
    assert document["spreads"] == {**unknown, "ours_over_best_peer_b8": [1.5, 1.6]}
    assert document["start_ups"][0]["memory_peak_mb"] is None


def test_the_text_holds_everything_in_100_columns() -> None:
    """Rows, start-up, parts, ratios, what is missing and what to know fit a terminal."""
    text = as_text(REPORT)

    lines = text.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert max(map(len, lines)) <= WIDTH
    assert "isa: avx2 fma" in lines
    assert "peak_gflops: fp32 140.0, bf16 7.000" in lines
    assert ["compiled", "fused", "fp32", "8", "31.2", "256.0", "30.0 to 32.0"] in cells
    assert ["compiled", "full", "4.500", "4.750", ""] in cells
    assert ["fused", "convolutions", "12.5", "0.925", "117.0"] in cells
    assert ["ours_over_best_peer_b8", "1.562", "1.500 to 1.600"] in cells
    assert ["jpeg", "0.500"] in cells
    assert "not measured: sge_over_plain_b8, ours_over_best_peer_b1," in text
    assert "absent: openvino int8, fused: nncf is not installed" in text
