"""The report of a sweep in virtual time: its notes, its tables, its document, its page."""

from __future__ import annotations

import dataclasses
import json

import orjson
import pytest

from tests.load.fake_target import FakeTarget, idle_clock
from tests.load.machine import REAL_TIME, USUAL, describe_machine
from tests.load.mix import PREDICT, Kind
from tests.load.page import as_html
from tests.load.report import Report
from tests.load.sweep import Plan, Sweeper
from tests.load.tables import as_text, table
from tests.load.users import read_stats
from tests.load.virtual_time import run_virtually

KIND = Kind("one", 1, PREDICT, "image/png", b"")
LOCUST = [
    {
        "name": "photo",
        "num_requests": 10,
        "num_failures": 1,
        "response_times": {"20": 8, "90": 1, "300": 1},
    }
]


def make_report(*, counts_double: bool = False, tier_after: str = "final") -> Report:
    """Sweep over a fake service of 50 images a second."""

    async def measure() -> Report:
        target = FakeTarget(0.02, counts_double=counts_double)
        plan = Plan(rates=(20.0, 60.0), arrivals=("constant",), step_s=5.0, deadline_s=0.2)
        sweep = await Sweeper(target, [KIND], idle_clock, plan, lambda _: None).run()
        before, after = await target.describe(), await target.describe()
        after["engine"]["tier"] = tier_after
        return Report(
            "http://fake",
            describe_machine(),
            before,
            after,
            {"one": 1},
            read_stats(4, 2, LOCUST),
            sweep,
        )

    return run_virtually(measure())


@pytest.fixture(scope="module")
def report() -> Report:
    """One for the tests that only read it."""
    return make_report()


def test_the_notes_say_where_the_knee_is(report: Report) -> None:
    """So do they say what ran, and that the service agrees."""
    notes = report.notes()

    assert notes[0] == "fake 1 on fake (fp32, cpu, tier final)"
    assert notes[1].startswith("knee, constant arrivals (99% answered within 200 ms): between ")
    assert notes[2] == "client and service agree within 5% on every figure"
    assert notes[3] == "the client's mean times are +0.0% to +0.0% off the service's"
    assert notes[4] == "0 requests opened a connection, in at most 0.0 ms"


@pytest.mark.parametrize(
    ("scheduling", "note"),
    [
        (REAL_TIME, "the client went before other processes of its machine, in real time"),
        (USUAL, "the client had no precedence on its machine: root could give it one"),
    ],
)
def test_the_notes_say_whether_the_client_went_first(
    report: Report, scheduling: str, note: str
) -> None:
    """Who shares its machine with the service may wait for a core."""
    machine = {**report.machine, "scheduling": scheduling}

    assert note in dataclasses.replace(report, machine=machine).notes()


def test_a_service_that_disagrees_is_named() -> None:
    """Each figure that is apart is told with both values."""
    notes = make_report(counts_double=True).notes()

    assert (
        "DISAGREES at 20.0/s (constant): answers 100.0 by the client, 200.0 by the service (-50.0%)"
    ) in notes


def test_a_change_of_engine_is_told() -> None:
    """Figures of two engines are not passed off as those of one."""
    notes = make_report(tier_after="restarting").notes()

    assert any(note.startswith("THE ENGINE CHANGED meanwhile") for note in notes)


def test_the_text_has_every_table(report: Report) -> None:
    """Users, rates, and client and service side by side."""
    text = as_text(report)

    assert "4 users in closed loop for 2 s" in text
    assert "| photo |       10 |        5.0 |      1 |     20 |     90 |    300 |" in text
    assert "open loop, constant arrivals" in text
    assert "20.0 / 10.0 to 25.0 |" in text
    assert "100.0 / 100.0 |" in text


def test_the_document_survives_json(report: Report) -> None:
    """Every figure is in it, whole histograms too, and another program can read it."""
    content = orjson.dumps(report.document(), option=orjson.OPT_NON_STR_KEYS)
    found = json.loads(content)

    first = found["sweep"]["steps"][0]
    assert found["sweep"]["knees"]["constant"]["broken"] == pytest.approx(60)
    assert first["goodput"] == pytest.approx(20)
    assert first["answers"]["ok"] == 100
    assert first["latency"]["hdr"].startswith("HIST")
    assert all(row["agrees"] for row in first["agreement"])


def test_the_page_needs_nothing_else(report: Report) -> None:
    """Plots are in it, and no address from which anything would be fetched."""
    page = as_html(report)

    assert "<svg" in page
    assert "knee, constant arrivals" in page
    assert "src=" not in page
    assert "<script" not in page


def test_a_table_is_aligned() -> None:
    """Every column is as wide as its widest cell."""
    assert table(["a", "long"], [["10", "1"]]).splitlines() == [
        "|  a | long |",
        "| -: | ---: |",
        "| 10 |    1 |",
    ]


def test_quantiles_of_users_count_every_request() -> None:
    """Eight of ten took 20 ms, so the median is that, and the worst is the p99."""
    (seen,) = read_stats(4, 2, LOCUST).seen

    assert [seen.quantile_ms(share) for share in (0.5, 0.9, 0.99)] == [20, 90, 300]
