"""Users in closed loop: Locust, in a process of its own, over the whole mix of requests."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
ROOT = LOCUSTFILE.parents[2]
GRACE_S = 60  # for Locust to start, to wait for the last answers and to end


class LocustFailed(Exception):
    """Locust ended without figures; its last words follow."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What users saw of one kind of request.

    Attributes:
        failures: answers with another status than the kind's.
        times_ms: how many requests took how long; Locust rounds to two digits.
    """

    kind: str
    requests: int
    failures: int
    times_ms: dict[float, int]

    def quantile_ms(self, share: float) -> float:
        """The time within which a share of the requests was answered; 0 of none."""
        left = share * self.requests
        for time_ms in sorted(self.times_ms):
            left -= self.times_ms[time_ms]
            if left <= 0:
                return time_ms
        return 0.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a number of users saw, in all kinds of requests, by name."""

    users: int
    duration_s: int
    seen: tuple[Seen, ...]


def read_stats(users: int, duration_s: int, rows: list[dict[str, Any]]) -> Crowd:
    """Read what Locust writes with `--json-file`."""
    seen = (
        Seen(
            row["name"],
            row["num_requests"],
            row["num_failures"],
            {float(time_ms): count for time_ms, count in row["response_times"].items()},
        )
        for row in rows
    )
    return Crowd(users, duration_s, tuple(sorted(seen, key=lambda kind: kind.kind)))


def run_users(url: str, users: int, duration_s: int) -> Crowd:
    """Let users in, all at once, and wait until they are through.

    Args:
        url: of the service.
        users: each sends its next request when it has its answer.
        duration_s: for how long, in whole seconds as Locust wants them.

    Raises:
        LocustFailed: there are no figures.
    """
    with tempfile.TemporaryDirectory() as folder:
        stats = Path(folder) / "stats.json"  # Locust adds the suffix itself
        command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless"]
        limits = ["--users", f"{users}", "--spawn-rate", f"{users}", "--run-time", f"{duration_s}s"]
        ending = ["--stop-timeout", "20", "--exit-code-on-error", "0", "--only-summary"]
        output = ["--host", url, "--json-file", str(stats.with_suffix(""))]
        try:
            done = subprocess.run(
                [*command, *limits, *ending, *output],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=duration_s + GRACE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LocustFailed(f"it did not end {GRACE_S} s after its time") from error
        if done.returncode or not stats.exists():
            raise LocustFailed(done.stderr.strip()[-2000:] or f"exit code {done.returncode}")
        return read_stats(users, duration_s, json.loads(stats.read_text(encoding="utf-8")))
