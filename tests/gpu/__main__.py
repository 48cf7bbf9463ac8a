"""The command: `python -m tests.gpu`, which `make gpu-test` runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from service.engines.gpu import GpuSurvey, survey_gpu
from tests.gpu.runner import Attempt, Outcome, exit_code, in_process, run_all, summary, tell
from tests.gpu.scene import Scene
from tests.gpu.steps import STEPS

NO_GPU = 2


def main(
    arguments: Sequence[str] | None = None,
    survey: Callable[[], GpuSurvey] = survey_gpu,
    attempt: Attempt | None = None,
) -> int:
    """Run the steps and report on them.

    Args:
        arguments: the command line; None takes the process's own.
        survey: looks at the GPU.
        attempt: runs a step; None runs it in a process of its own.

    Returns:
        0 where no step failed, 1 where one did, 2 where there is no GPU that can be used.
    """
    options = _options(arguments)
    reason = survey().why_not()
    if reason is not None:
        _say(f"gpu-test: {reason}; nothing was run")
        return NO_GPU
    if options.step:
        (step,) = (step for step in STEPS if step.name == options.step)
        return tell(lambda folder: step.run(Scene(folder, torch.device("cuda"))), options.folder)
    steps = [step for step in STEPS if not options.only or step.name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.gpu", "--folder", folder, "--step"]
        outcomes = run_all(steps, attempt or in_process(command), _say)
    _say(summary(outcomes))
    if options.json:
        options.json.write_text(_document(outcomes), encoding="utf-8")
    return exit_code(outcomes)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(prog="python -m tests.gpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to it, too")
    parser.add_argument(
        "--only", nargs="+", choices=names, help="steps; all but the first need build"
    )
    parser.add_argument("--step", choices=names, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _document(outcomes: Sequence[Outcome]) -> str:
    return json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2) + "\n"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
