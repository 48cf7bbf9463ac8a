"""The command: `python -m tests.soak --minutes 30`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from tests.processes import running
from tests.soak.rounds import Plan, SoakFailed, soak
from tests.soak.verdict import as_text

ROUND_S = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Begin a service by the environment's settings, soak it and say how it stood that.

    Returns:
        0 where every promise held, else 1.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="for how long")
    parser.add_argument("--round-s", type=float, default=ROUND_S, help="between two counts")
    wanted = parser.parse_args(arguments)
    rounds = max(1, round(wanted.minutes * 60 / wanted.round_s))
    with running([sys.executable, "-m", "tests.soak.service"], variables=QUIET) as service:
        try:
            service.hear("curl")
            checks = asyncio.run(soak(service, Plan(rounds, wanted.round_s), say))
        except SoakFailed as error:
            say(f"{error}; it said:\n{service.said[-4000:]}")
            return 1
    say(as_text(checks))
    return int(any(check.held is False for check in checks))


QUIET = {"SGE_PORT": "0", "SGE_LOG_LEVEL": "error"}


def say(text: str) -> None:
    """Print for whoever soaks."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
