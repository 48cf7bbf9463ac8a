"""`make bench ARGS="engines ..."`: measure, and show what was found."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from pydantic import ValidationError

from service.commands.contents import load_contents
from service.commands.flags import settings_of
from service.config import Settings, describe_invalid, keep_artefacts_in
from service.cores import core_quota
from service.engines.device import choose_device, choose_precision, choose_threads
from service.errors import BadSetting, ServiceError
from service.logs import configure_logs
from service.model.resnet import ResNetSpec
from service.serving.passing_thread import in_passing_thread
from service.store.load import Bundle
from tests.bench.decode import DecodeBench, bench_decode
from tests.bench.engines import EngineBench, bench_engines
from tests.bench.flags import Wanted, add_flags, wanted_of
from tests.bench.loopback import ServiceBench, bench_service
from tests.bench.machine import describe
from tests.bench.networks import random_bundle
from tests.bench.ours import FORMS
from tests.bench.plot import save_plot
from tests.bench.profile import ProfileBench, bench_profile
from tests.bench.ratios import AS_WRITTEN
from tests.bench.report import Report
from tests.bench.rounds import Pace
from tests.bench.text import render

Say = Callable[[str], None]

CLOCK = time.perf_counter
MINUTES, QUICK_MINUTES = 10.0, 2.0
TIDYING_UP_S = 10.0  # and the imports before
BATCHES, QUICK_BATCHES = (1, 8, 32), (8,)
DECODE_BUDGET_S, QUICK_DECODE_BUDGET_S = 30.0, 5.0
SERVICE_ROUNDS, QUICK_SERVICE_ROUNDS = 5, 3
WINDOW_S, QUICK_WINDOW_S = 8.0, 4.0
CLIENTS = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench.

    Args:
        arguments: the command line; None takes the process's own.

    Returns:
        0, or 1 when nothing could be measured, or 2 with one line on standard error when what
        was asked for makes no sense.
    """
    parser = argparse.ArgumentParser(
        prog='make bench ARGS="..."',
        allow_abbrev=False,
        description="Measure engines, decoding or the service.",
    )
    add_flags(parser)
    parsed = parser.parse_args(arguments)
    try:
        return run(settings_of(parsed), wanted_of(parsed), say=_say, note=_note)
    except ValidationError as error:
        _note(f"bench: {describe_invalid(error)}")
    except ServiceError as error:
        _note(f"bench: {error.message}")
    return 2


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def run(settings: Settings, wanted: Wanted, *, say: Say, note: Say) -> int:
    """Measure one subject.

    Args:
        settings: of what is measured.
        wanted: what a person asked for.
        say: takes the result.
        note: takes what is being done meanwhile.

    Returns:
        0, or 1 when nothing could be measured.

    Raises:
        BadSetting: the network, device or folder does not exist, or a file cannot be written.
        StoreError: the model that was named cannot be loaded.
        EngineFailed: the service's engine cannot run.
    """
    configure_logs("error", "console")
    keep_artefacts_in(settings.cache_dir)
    measure = SUBJECTS[wanted.subject]
    report = measure(settings, wanted, note)
    document = orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2)
    say(document.decode() if wanted.json == "-" else render(report))
    if wanted.json not in (None, "-"):
        _write(Path(str(wanted.json)), document)
    if wanted.plot is not None:
        save_plot(report, wanted.plot)
    return 0 if report.rows else 1


def _engines(settings: Settings, wanted: Wanted, note: Say) -> Report:
    device = choose_device(settings.device)
    native = tuple(dict.fromkeys(("fp32", choose_precision("auto", device))))
    is_whole = device.type == "cpu" and not wanted.quick
    minutes = wanted.minutes or (QUICK_MINUTES if wanted.quick else MINUTES)
    bench = EngineBench(
        spec=_spec_of(wanted),
        engines=wanted.engines,
        precisions=wanted.precisions or ((*native, "int8") if is_whole else native),
        batches=wanted.batch or (QUICK_BATCHES if wanted.quick else BATCHES),
        threads=_threads(settings),
        peer_forms=(AS_WRITTEN,) if wanted.quick else FORMS,
        device=device,
        rounds=wanted.rounds,
        budget_s=60 * minutes - TIDYING_UP_S,
        with_start_up=not wanted.quick,
    )
    return bench_engines(bench, note, CLOCK)


def _decode(settings: Settings, wanted: Wanted, note: Say) -> Report:
    if wanted.pictures is not None and not wanted.pictures.is_dir():
        raise BadSetting(f"--pictures {wanted.pictures} is not a folder")
    note("decoding pictures")
    bundle = None if wanted.model is None else _find(settings, wanted.model)
    machine = describe(1, ("pillow",))
    pace = Pace(
        wanted.rounds, CLOCK() + (QUICK_DECODE_BUDGET_S if wanted.quick else DECODE_BUDGET_S)
    )
    return bench_decode(DecodeBench(pace, bundle, wanted.pictures), machine, CLOCK)


def _service(settings: Settings, wanted: Wanted, note: Say) -> Report:
    spec = _spec_of(wanted)
    bench = ServiceBench(
        bundle=in_passing_thread(random_bundle, spec),
        settings=settings.model_copy(update={"tiered": False}),
        clients=CLIENTS,
        rounds=wanted.rounds or (QUICK_SERVICE_ROUNDS if wanted.quick else SERVICE_ROUNDS),
        window_s=QUICK_WINDOW_S if wanted.quick else WINDOW_S,
    )
    machine = in_passing_thread(describe, _threads(settings), ("uvicorn", "fastapi"))
    note("starting the service")
    return bench_service(bench, machine, note, CLOCK)


def _profile(settings: Settings, wanted: Wanted, note: Say) -> Report:
    bench = ProfileBench(
        spec=_spec_of(wanted),
        batch=(wanted.batch or QUICK_BATCHES)[0],
        threads=_threads(settings),
        rounds=wanted.rounds,
        quick=wanted.quick,
    )
    return bench_profile(bench, note, CLOCK)


SUBJECTS = {"engines": _engines, "decode": _decode, "service": _service, "profile": _profile}


def _spec_of(wanted: Wanted) -> ResNetSpec:
    is_small = wanted.quick and wanted.subject == "engines"  # where building is what takes long
    arch = wanted.arch or ("sge_resnet18" if is_small else "sge_resnet50")
    spec = ResNetSpec(arch, groups=wanted.groups, input_px=wanted.size)
    try:
        spec.check()
    except ValueError as error:
        raise BadSetting(str(error)) from error
    return spec


def _threads(settings: Settings) -> int:
    return choose_threads(settings.threads, core_quota())


def _find(settings: Settings, model: str) -> Bundle:
    only = settings.model_copy(update={"models": (model,)})
    return load_contents(only, lambda _: None).bundles[-1]


def _write(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        raise BadSetting(f"--json {path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
