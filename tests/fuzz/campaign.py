"""One run of the fuzzer over a target, in a process of its own, and what came of it."""

from __future__ import annotations

import hashlib
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Target, find_target

STALLED_S = 30  # of one input, after which it counts as an endless loop
MOST_MB = 2048  # of the process, with its imports and all inputs that it keeps
PATIENCE_S = 300  # beyond the time that was given: imports, seeds and a slow machine


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a run came to.

    Attributes:
        code: with which the process ended; not 0 where something was found, or it broke down.
        executions: inputs that were tried.
        findings: files of inputs on which the target failed; at most one a run.
        log: what the process said.
    """

    code: int
    executions: int
    findings: tuple[Path, ...]
    log: str


def fuzz(name: str, seconds: int, folder: Path) -> Campaign:
    """Fuzz a target for so long, or until something is found.

    Args:
        name: of the target.
        seconds: of the run; 0 tries what is in the folder and nothing else.
        folder: keeps the inputs that reached something new, and the findings.
    """
    target = find_target(name)
    corpus, findings = folder / name / "corpus", folder / name / "findings"
    for each in (corpus, findings):
        each.mkdir(parents=True, exist_ok=True)
    _write_seeds(target, corpus)
    before = set(findings.iterdir())
    length = "-runs=0" if seconds == 0 else f"-max_total_time={seconds}"
    limits = (
        f"-timeout={STALLED_S}",
        f"-report_slow_units={STALLED_S}",
        f"-rss_limit_mb={MOST_MB + _peak_mb()}",
    )
    files = (f"-artifact_prefix={findings}/", f"-dict={_write_tokens(target, folder / name)}")
    command = [name, length, *limits, *files, f"-max_len={target.LONGEST_BYTES}", str(corpus)]
    run = _run([*command, "-print_final_stats=1"], seconds + PATIENCE_S)
    found = tuple(sorted(set(findings.iterdir()) - before))
    return Campaign(run.returncode, _executions(run.stdout), found, run.stdout)


def _peak_mb() -> int:
    """What this process took at most: to Linux a process that it starts has taken that, too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def repeat_command(name: str, finding: Path) -> str:
    """What to type to see a finding again."""
    return f"python -m tests.fuzz {name} {finding}"


def _write_seeds(target: Target, corpus: Path) -> None:
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


def _write_tokens(target: Target, folder: Path) -> Path:
    """Write the words that inputs are made of, as libFuzzer reads them."""
    path = folder / "tokens"
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"' for token in target.TOKENS)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def _run(arguments: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.child", *arguments]
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
        errors="replace",
        text=True,
    )


def _executions(log: str) -> int:
    told = re.findall(r"stat::number_of_executed_units: +(\d+)", log)
    return int(told[-1]) if told else 0
