"""The run of all steps: it goes on after a failure, tells figures, and ends with a code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.engine_builders import USABLE_GPU
from tests.gpu.__main__ import main
from tests.gpu.runner import (
    Figures,
    Named,
    Outcome,
    Skipped,
    as_text,
    exit_code,
    in_process,
    run_all,
    summary,
    tell,
)
from tests.gpu.steps import STEPS

PASSED = Outcome("build", "passed", 2.5, {"fp32, MB": 102.25, "buckets": "1, 2"})
FAILED = Outcome("capture", "failed", 0.5, reason="it is not recorded\nfor want of memory")
SKIPPED = Outcome("tensorrt", "skipped", reason="it is not installed")


@dataclass(frozen=True, slots=True)
class FakeStep:
    """A step that nothing runs."""

    name: str
    limit_s: float = 60.0


def script(text: str) -> list[str]:
    """A command that runs a few lines of Python; the step's name is its last argument."""
    return [sys.executable, "-c", text]


def test_a_run_goes_on_after_a_failure() -> None:
    """Every step has its turn, in order, and its outcome is told as it comes."""
    outcomes = {one.name: one for one in (PASSED, FAILED, SKIPPED)}
    said: list[str] = []

    found = run_all([FakeStep(name) for name in outcomes], lambda s: outcomes[s.name], said.append)

    assert found == [PASSED, FAILED, SKIPPED]
    assert said[:2] == [
        "build ...",
        "passed  build (2.5 s)\n    fp32, MB: 102.2\n    buckets: 1, 2",
    ]
    assert said[3] == ("failed  capture (0.5 s)\n    it is not recorded\n    for want of memory")


@pytest.mark.parametrize(
    ("outcomes", "code", "text"),
    [
        ([PASSED, SKIPPED], 0, "1 passed, 0 failed, 1 skipped"),
        ([FAILED, PASSED], 1, "1 passed, 1 failed, 0 skipped: capture"),
    ],
)
def test_the_end_tells_whether_any_failed(outcomes: list[Outcome], code: int, text: str) -> None:
    """By the exit code, and by name."""
    assert (exit_code(outcomes), summary(outcomes)) == (code, text)


def test_a_process_tells_figures_in_its_last_line() -> None:
    """Whatever else it writes."""
    told = json.dumps({"state": "passed", "figures": {"n": 1}, "reason": ""})
    attempt = in_process(script(f"import sys; print('a warning'); print({told!r})"))

    outcome = attempt(FakeStep("build"))

    assert replace(outcome, seconds=0.0) == Outcome("build", "passed", figures={"n": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ArithmeticError('too far apart')", "too far apart"),
        ("import os; os.abort()", "its process ended with exit code -6"),
        ("print('nothing')", "its process ended with exit code 0\nnothing"),
    ],
)
def test_a_process_that_breaks_is_a_step_that_failed(text: str, reason: str) -> None:
    """By an error, by a signal, or without a word; its own are in the report."""
    outcome = in_process(script(text))(FakeStep("capture"))

    assert outcome.state == "failed"
    assert reason in outcome.reason


def test_a_process_that_hangs_is_ended() -> None:
    """After the step's own time."""
    attempt = in_process(script("import time; time.sleep(60)"))

    outcome = attempt(FakeStep("capture", limit_s=0.2))

    assert (outcome.state, outcome.reason) == ("failed", "it took longer than 0.2 s")


def test_a_step_tells_its_figures_or_why_it_was_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the process that waits reads them."""

    def skip(_: Path) -> Figures:
        raise Skipped("it is not installed")

    codes = tell(lambda folder: {"folder": folder.name}, tmp_path), tell(skip, tmp_path)

    passed, skipped = (json.loads(line) for line in capsys.readouterr().out.split("\n") if line)
    assert codes == (0, 0)
    assert passed == {"state": "passed", "figures": {"folder": tmp_path.name}, "reason": ""}
    assert skipped == {"state": "skipped", "figures": {}, "reason": "it is not installed"}


def test_without_a_gpu_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is one of its own, and the reason is told."""
    code = main([], lambda: replace(USABLE_GPU, driver_cuda=None))

    assert code == 2
    assert capsys.readouterr().out == ("gpu-test: there is no NVIDIA driver; nothing was run\n")


def test_the_report_is_written_to_a_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the outcome of every step; the figures of one that passed are in both."""
    report = tmp_path / "report.json"

    def attempt(step: Named) -> Outcome:
        return replace(FAILED, name=step.name) if step.name == "capture" else PASSED

    code = main(["--json", str(report)], lambda: USABLE_GPU, attempt)

    assert code == 1
    assert [one["state"] for one in json.loads(report.read_text())].count("failed") == 1
    assert len(json.loads(report.read_text())) == len(STEPS)
    assert capsys.readouterr().out.endswith("1 failed, 0 skipped: capture\n")


def test_some_steps_can_be_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the whole run."""
    ran: list[str] = []

    def attempt(step: Named) -> Outcome:
        ran.append(step.name)
        return PASSED

    main(["--only", "capture", "build"], lambda: USABLE_GPU, attempt)

    assert ran == ["build", "capture"]


def test_a_text_has_its_figures_short() -> None:
    """Four digits say enough; texts and counts are whole."""
    outcome = Outcome("machine", "passed", 0.04, {"GB": 84.987654, "count": 12345})

    assert as_text(outcome) == "passed  machine (0.0 s)\n    GB: 84.99\n    count: 12345"
