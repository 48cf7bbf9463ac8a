"""What Envoy costs: one replica asked directly and through it, by turns."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.load.client import connect
from tests.load.mix import Kind
from tests.load.sender import Answer, send_closed_loop
from tests.replicas.stretch import TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Window:
    """What clients in closed loop saw.

    Attributes:
        answers: with 200.
        rate: of those, a second.
        p50_ms: of their times.
    """

    answers: int
    rate: float
    p50_ms: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one number of clients saw, as medians over the rounds.

    Attributes:
        clients: at one time.
        direct_rate: answers a second without Envoy.
        through_rate: with it.
        direct_p50_ms: time of an answer without Envoy.
        through_p50_ms: with it.
        cpu_s_per_1000: of Envoy, over all rounds.
    """

    clients: int
    direct_rate: float
    through_rate: float
    direct_p50_ms: float
    through_p50_ms: float
    cpu_s_per_1000: float


async def measure(
    addresses: Sequence[str],
    envoy: int,
    kind: Kind,
    *,
    clients: int,
    rounds: int,
    window_s: float,
) -> Cost:
    """Ask directly and through Envoy by turns.

    Args:
        addresses: of the replica and of Envoy.
        envoy: its process.
        kind: of request.
        clients: at one time.
        rounds: windows of each.
        window_s: how long each lasts.
    """
    found: dict[str, list[Window]] = {address: [] for address in addresses}
    spent_s = 0.0
    for _ in range(rounds):
        for address in addresses:
            before_s = cpu_seconds(envoy)
            found[address].append(await _window(address, kind, clients, window_s))
            spent_s += (cpu_seconds(envoy) - before_s) * (address == addresses[-1])
    direct, through = (found[address] for address in addresses)
    return Cost(
        clients,
        statistics.median(window.rate for window in direct),
        statistics.median(window.rate for window in through),
        statistics.median(window.p50_ms for window in direct),
        statistics.median(window.p50_ms for window in through),
        1000 * spent_s / sum(window.answers for window in through),
    )


async def _window(address: str, kind: Kind, clients: int, window_s: float) -> Window:
    async with connect(address, TIMEOUT_S) as target:
        shots = await send_closed_loop(target.send, [kind], clients, window_s)
    times = [shot.ended_s - shot.sent_s for shot in shots if shot.answer is Answer.OK]
    return Window(len(times), len(times) / window_s, 1000 * statistics.median(times))


def cpu_seconds(process: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
