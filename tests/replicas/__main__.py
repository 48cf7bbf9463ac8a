"""`python -m tests.replicas`: what Envoy costs, and what clients lose when a replica goes."""

from __future__ import annotations

import argparse
import asyncio
import copy
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.load.mix import Kind, make_kinds
from tests.replicas.balancer import ROOT, Balancer, Configuration, balancing, shipped
from tests.replicas.cost import measure
from tests.replicas.processes import Replica, replicas
from tests.replicas.stretch import Stretch, load

NUMBER = 3
CLIENTS = 1, 16
ROUNDS = 5
WINDOW_S = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write two tables in Markdown."""
    options = _parse(arguments)
    kinds = {kind.name: kind for kind in make_kinds("fashion-mnist")}
    flags = ("--threads", "1", "--decode-workers", "1", "--log-level", "error")
    with (
        tempfile.TemporaryDirectory() as folder,
        replicas(NUMBER, options.store, flags, engine=options.engine) as running,
    ):
        if options.only != "faults":
            _write_costs(Path(folder), running, kinds["small"])
        if options.only != "cost":
            _write_faults(Path(folder), running, [kinds["small"], kinds["canvas"]], options)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.replicas", description=__doc__)
    parser.add_argument("--store", type=Path, default=ROOT / "model_store", help="of the models")
    parser.add_argument("--engine", default="auto", help="of the replicas")
    parser.add_argument("--rate", type=float, default=30.0, help="requests in a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each stretch of load")
    parser.add_argument("--only", choices=("cost", "faults"), help="leave the other out")
    return parser.parse_args(arguments)


def _write_costs(folder: Path, running: Sequence[Replica], kind: Kind) -> None:
    one = running[0]
    _say(
        "| clients | direct /s | through Envoy /s | p50 ms | p50 ms through | Envoy's CPU s/1000 |"
    )
    with balancing(folder, [one.port]) as balancer:
        balancer.await_replicas(1)
        addresses = one.served.address, balancer.address
        for clients in CLIENTS:
            cost = asyncio.run(
                measure(
                    addresses,
                    balancer.process.pid,
                    kind,
                    clients=clients,
                    rounds=ROUNDS,
                    window_s=WINDOW_S,
                )
            )
            _say(
                f"| {clients} | {cost.direct_rate:.1f} | {cost.through_rate:.1f} "
                f"| {cost.direct_p50_ms:.1f} | {cost.through_p50_ms:.1f} "
                f"| {cost.cpu_s_per_1000:.2f} |"
            )


def _write_faults(
    folder: Path, running: Sequence[Replica], kinds: Sequence[Kind], options: argparse.Namespace
) -> None:
    first, second, third = running

    def stretch(name: str, balancer: Balancer, event: Callable[[], object] | None = None) -> None:
        balancer.await_replicas(NUMBER)
        loading = load(
            balancer.address, kinds, event, rate=options.rate, duration_s=options.seconds
        )
        seen = asyncio.run(loading)
        _say(_row(name, seen))

    _say(f"\n| load {os.getloadavg()[0]:.1f} | requests | lost | p50 ms | p99 ms | longest ms |")
    with balancing(folder, [replica.port for replica in running]) as balancer:
        stretch("nothing happens", balancer)
        stretch("kill -9", balancer, lambda: _kill(first))
        stretch("nothing happens", balancer)
        stretch("SIGTERM", balancer, lambda: _stop(second))
    with balancing(folder, [replica.port for replica in running], without_retries()) as balancer:
        stretch("kill -9, no retries", balancer, lambda: _kill(first))
        stretch("SIGTERM, no retries", balancer, lambda: _stop(second))
        third.stop()
        third.flags = (*third.flags, "--drain-delay-s", "3")
        third.start()
        stretch("SIGTERM, no retries, SGE_DRAIN_DELAY_S=3", balancer, lambda: _stop(third))


def _row(name: str, seen: Stretch) -> str:
    lost = ", ".join(f"{number} {what}" for what, number in seen.lost.items()) or "0"
    times = " | ".join(f"{seen.percentile_ms(share):.0f}" for share in (0.5, 0.99, 1.0))
    return f"| {name} | {len(seen.shots)} | {lost} | {times} |"


def _kill(replica: Replica) -> None:
    replica.kill()
    replica.start()


def _stop(replica: Replica) -> None:
    replica.stop()
    replica.start()


def without_retries() -> Configuration:
    """The configuration that ships, whose requests are sent once; all else watches as before."""
    changed = copy.deepcopy(shipped())
    manager = changed["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    for host in manager["typed_config"]["route_config"]["virtual_hosts"]:
        del host["retry_policy"]
    return changed


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
