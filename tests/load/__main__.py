"""The command: `python -m tests.load --url http://127.0.0.1:8000`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from tests.load.client import Target, connect
from tests.load.machine import cpu_clock, describe_machine, real_time
from tests.load.mix import Kind, make_kinds, single_images
from tests.load.page import as_html
from tests.load.plots import save_png
from tests.load.report import Report
from tests.load.sweep import Plan, Say, Sweeper
from tests.load.tables import as_text
from tests.load.users import LocustFailed, run_users
from tests.load.verdicts import ClientLimits, ClientTooSlow

REFUSED = 3
JSON_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
Load = Callable[[argparse.Namespace], Coroutine[Any, Any, Report]]
UNSETTLED = ("loading", "first", "restarting")  # tiers of an engine that is about to change
LOOK_AGAIN_S = 0.5


def main(arguments: Sequence[str] | None = None, load: Load | None = None) -> int:
    """Run the load test, print its tables and write the files that are asked for.

    Args:
        arguments: of the command line; None takes the process's own.
        load: makes the report; None loads the service at `--url`.

    Returns:
        0 with a report, 1 when the service cannot be tested, 3 when the client was the
        bottleneck: then nothing is reported.
    """
    options = _parse(arguments)
    try:
        report = asyncio.run((load or load_service)(options))
    except ClientTooSlow as error:
        _say(
            f"no report: {error}.\n"
            "Run the client on another machine than the service, or try lower rates."
        )
        return REFUSED
    except (aiohttp.ClientError, OSError, TimeoutError, LocustFailed) as error:
        _say(f"{options.url} cannot be tested: {error or type(error).__name__}")
        return 1
    _write(report, options)
    return 0


async def load_service(options: argparse.Namespace) -> Report:
    """Load the service at `--url`.

    Raises:
        ClientTooSlow: the client was the bottleneck.
        aiohttp.ClientError: the service cannot be reached.
    """
    async with connect(options.url, options.timeout_s) as target:
        await wait_until_settled(target, options.wait_s, _say)
        return await _measure(target, options)


async def wait_until_settled(target: Target, wait_s: float, say: Say) -> None:
    """Wait until the model's engine is the one that stays, for as long as `wait_s`."""
    for attempt in range(int(wait_s / LOOK_AGAIN_S)):
        tier = (await target.describe())["engine"]["tier"]
        if tier not in UNSETTLED:
            return
        if attempt == 0:
            say(f"the engine is at tier {tier}: waiting for the one that stays")
        await asyncio.sleep(LOOK_AGAIN_S)
    say(f"after {wait_s:g} s it is still not there: going on with what answers (--wait-s)")


async def _measure(target: Target, options: argparse.Namespace) -> Report:
    """Let the users in, then sweep."""
    before = await target.describe()
    kinds = _chosen(options.kinds, before["name"])
    machine = describe_machine()
    crowd, sweep = None, None
    if options.only != "sweep":
        _say(f"{options.users} users in closed loop for {options.users_s:g} s")
        crowd = await asyncio.to_thread(run_users, options.url, options.users, options.users_s)
    if options.only != "users":
        with real_time() as machine["scheduling"]:
            sweep = await Sweeper(target, kinds, cpu_clock, _plan(options), _say).run()
    return Report(
        url=options.url,
        machine=machine,
        model=before,
        model_after=await target.describe(),
        kinds={kind.name: kind.weight for kind in kinds},
        crowd=crowd,
        sweep=sweep,
    )


def _write(report: Report, options: argparse.Namespace) -> None:
    _say("\n" + as_text(report))
    if options.json:
        options.json.write_bytes(orjson.dumps(report.document(), option=JSON_OPTIONS))
    if options.html:
        options.html.write_text(as_html(report), encoding="utf-8")
    if options.png and report.sweep:
        save_png(report.sweep, options.png)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        rates=options.rates,
        arrivals=options.arrivals,
        step_s=options.step_s,
        deadline_s=options.deadline_ms / 1000,
        tells_deadline=options.tell_deadline,
        held_share=options.held_share,
        seed=options.seed,
        limits=ClientLimits(options.late_limit_ms, options.cores_limit),
    )


def _chosen(names: tuple[str, ...], model: str) -> tuple[Kind, ...]:
    kinds = single_images(make_kinds(model))
    return tuple(kind for kind in kinds if not names or kind.name in names)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--url", type=_address, default="http://127.0.0.1:8000", help="of a running service")
    add("--only", choices=("users", "sweep"), help="leave the other part out")
    add("--users", type=int, default=8, help="in closed loop")
    add("--users-s", type=int, default=20, help="for how long they stay")
    add("--rates", type=_numbers, default=(), help="comma list; else fractions of the capacity")
    add("--arrivals", type=_arrivals, default=("poisson", "constant"), help="comma list of both")
    add("--kinds", type=_names, default=(), help="comma list of what the sweep sends; else all")
    add("--step-s", type=float, default=8, help="how long each rate is held")
    add("--deadline-ms", type=float, default=500, help="within which an answer counts")
    tell = "whether requests tell the service their deadline"
    add("--tell-deadline", action=argparse.BooleanOptionalAction, default=True, help=tell)
    add("--held-share", type=float, default=0.99, help="in time, for a rate to count as held")
    add("--timeout-s", type=float, default=10, help="after it the client gives a request up")
    add("--wait-s", type=float, default=60, help="how long to wait for the final engine")
    add("--late-limit-ms", type=float, default=10, help="p99 of late sends; above: no report")
    add("--cores-limit", type=float, default=0.8, help="the client's own; above: no report")
    add("--seed", type=int, default=1, help="of arrivals and kinds")
    add("--json", type=Path, help="file of every figure, histograms included")
    add("--html", type=Path, help="file with plots and tables")
    add("--png", type=Path, help="file with the plots alone")
    return parser.parse_args(arguments)


def _address(text: str) -> str:
    parts = urlsplit(text)
    try:
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no number of a port
        is_whole = False
    if not is_whole or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text}: not an address such as http://127.0.0.1:8000")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _arrivals(text: str) -> tuple[str, ...]:
    chosen = _names(text)
    if set(chosen) - {"poisson", "constant"}:
        raise argparse.ArgumentTypeError(f"{text}: not poisson, constant or both")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
