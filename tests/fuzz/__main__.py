"""Fuzz a target: `python -m tests.fuzz images --seconds 60`; or try files again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.campaign import fuzz, repeat_command
from tests.fuzz.target import BROKEN, TARGETS, find_target

LAST_LINES = 40  # of the process, which end with the traceback


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where something was found or it broke down, 2 without atheris."""
    parsed = _parser().parse_args(arguments)
    if parsed.files:
        return _try_again(parsed.target, parsed.files)
    if find_spec("atheris") is None:
        _say("atheris is not installed: it has no wheel for this Python")
        return 2
    campaign = fuzz(parsed.target, parsed.seconds, parsed.folder)
    _say(f"{parsed.target}: {campaign.executions} inputs, {len(campaign.findings)} findings")
    if campaign.code:
        _say("\n".join(campaign.log.splitlines()[-LAST_LINES:]))
    for finding in campaign.findings:
        _say(f"kept in {finding}, repeat with: {repeat_command(parsed.target, finding)}")
    return int(campaign.code != 0)


def _try_again(name: str, files: Sequence[Path]) -> int:
    """Check files without the fuzzer: the traceback is the finding's."""
    target = find_target(name)
    target.prepare()
    for file in files:
        target.check(file.read_bytes())
        _say(f"{file}: nothing found")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=(*TARGETS, BROKEN))
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="only try these")
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz")
    parser.add_argument(
        "--folder", type=Path, default=Path(".fuzz"), help="of inputs and findings, for later runs"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
