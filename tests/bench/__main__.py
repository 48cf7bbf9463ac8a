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
from service.serving.short_lived_thread import in_short_lived_thread
from service.store.load import LoadedModel
from tests.bench.decode import DecodeBench, bench_decode
from tests.bench.engines import EngineBench, bench_engines
from tests.bench.flags import BenchArguments, add_flags, arguments_of
from tests.bench.loopback import ServiceBench, bench_service
from tests.bench.machine import describe
from tests.bench.networks import random_model
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
        return run(settings_of(parsed), arguments_of(parsed), say=_say, note=_note)
    except ValidationError as error:
        _note(f"bench: {describe_invalid(error)}")
    except ServiceError as error:
        _note(f"bench: {error.message}")
    return 2


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def run(settings: Settings, arguments: BenchArguments, *, say: Say, note: Say) -> int:
    """Measure one subject.

    Args:
        settings: of what is measured.
        arguments: what a person asked for.
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
    measure = SUBJECTS[arguments.subject]
    report = measure(settings, arguments, note)
    document = orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2)
    say(document.decode() if arguments.json == "-" else render(report))
    if arguments.json not in (None, "-"):
        _write(Path(str(arguments.json)), document)
    if arguments.plot is not None:
        save_plot(report, arguments.plot)
    return 0 if report.rows else 1


def _engines(settings: Settings, arguments: BenchArguments, note: Say) -> Report:
    device = choose_device(settings.device)
    native = tuple(dict.fromkeys(("fp32", choose_precision("auto", device))))
    is_whole = device.type == "cpu" and not arguments.quick
    minutes = arguments.minutes or (QUICK_MINUTES if arguments.quick else MINUTES)
    bench = EngineBench(
        spec=_spec_of(arguments),
        engines=arguments.engines,
        precisions=arguments.precisions or ((*native, "int8") if is_whole else native),
        batches=arguments.batch or (QUICK_BATCHES if arguments.quick else BATCHES),
        threads=_threads(settings),
        peer_forms=(AS_WRITTEN,) if arguments.quick else FORMS,
        device=device,
        rounds=arguments.rounds,
        budget_s=60 * minutes - TIDYING_UP_S,
        with_start_up=not arguments.quick,
    )
    return bench_engines(bench, note, CLOCK)


def _decode(settings: Settings, arguments: BenchArguments, note: Say) -> Report:
    if arguments.pictures is not None and not arguments.pictures.is_dir():
        raise BadSetting(f"--pictures {arguments.pictures} is not a folder")
    note("decoding pictures")
    model = None if arguments.model is None else _find(settings, arguments.model)
    machine = describe(1, ("pillow",))
    pace = Pace(
        arguments.rounds, CLOCK() + (QUICK_DECODE_BUDGET_S if arguments.quick else DECODE_BUDGET_S)
    )
    return bench_decode(DecodeBench(pace, model, arguments.pictures), machine, CLOCK)


def _service(settings: Settings, arguments: BenchArguments, note: Say) -> Report:
    spec = _spec_of(arguments)
    bench = ServiceBench(
        model=in_short_lived_thread(random_model, spec),
        settings=settings.model_copy(update={"tiered": False}),
        clients=CLIENTS,
        rounds=arguments.rounds or (QUICK_SERVICE_ROUNDS if arguments.quick else SERVICE_ROUNDS),
        window_s=QUICK_WINDOW_S if arguments.quick else WINDOW_S,
    )
    machine = in_short_lived_thread(describe, _threads(settings), ("uvicorn", "fastapi"))
    note("starting the service")
    return bench_service(bench, machine, note, CLOCK)


def _profile(settings: Settings, arguments: BenchArguments, note: Say) -> Report:
    bench = ProfileBench(
        spec=_spec_of(arguments),
        batch=(arguments.batch or QUICK_BATCHES)[0],
        threads=_threads(settings),
        rounds=arguments.rounds,
        quick=arguments.quick,
    )
    return bench_profile(bench, note, CLOCK)


SUBJECTS = {"engines": _engines, "decode": _decode, "service": _service, "profile": _profile}


def _spec_of(arguments: BenchArguments) -> ResNetSpec:
    is_small = (
        arguments.quick and arguments.subject == "engines"
    )  # where building is what takes long
    arch = arguments.arch or ("sge_resnet18" if is_small else "sge_resnet50")
    spec = ResNetSpec(arch, groups=arguments.groups, input_px=arguments.size)
    try:
        spec.check()
    except ValueError as error:
        raise BadSetting(str(error)) from error
    return spec


def _threads(settings: Settings) -> int:
    return choose_threads(settings.threads, core_quota())


def _find(settings: Settings, model: str) -> LoadedModel:
    only = settings.model_copy(update={"models": (model,)})
    return load_contents(only, lambda _: None).models[-1]


def _write(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        raise BadSetting(f"--json {path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
