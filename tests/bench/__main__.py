"""`make bench ARGS="engines ..."`: measure, and show what was found."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson
import torch
from pydantic import ValidationError

from service.commands.contents import load_contents
from service.commands.flags import settings_of
from service.config import Settings, describe_invalid
from service.cores import core_quota
from service.engines.device import choose_device, choose_precision, choose_threads
from service.errors import BadSetting, ServiceError
from service.logs import configure_logs
from service.model.resnet import ResNetSpec
from service.serving.short_lived_thread import in_short_lived_thread
from service.store.load import LoadedModel
from tests.bench.decode import bench_decode
from tests.bench.engines import bench_engines
from tests.bench.entrants import EngineBench, Note
from tests.bench.flags import parse
from tests.bench.folder import bench_predict
from tests.bench.machine import describe
from tests.bench.networks import AS_WRITTEN, FORMS, random_model
from tests.bench.profile import bench_profile
from tests.bench.report import Report, as_text, save_plot
from tests.bench.rounds import Pace
from tests.bench.service import bench_service

CLOCK = time.perf_counter
TIDYING_UP_S = 10.0  # and the imports before
# Each as it is, and with --quick.
MINUTES = 10.0, 2.0
BATCHES = (1, 8, 32), (8,)
DECODE_BUDGET_S = 30.0, 5.0
SERVICE_ROUNDS = 5, 3
WINDOW_S = 8.0, 4.0
PROFILE_ROUNDS = 9, 3
CLIENTS = 16

Measure = Callable[[Settings, argparse.Namespace, Note], Report]


def main(
    arguments: Sequence[str] | None = None, subjects: Mapping[str, Measure] | None = None
) -> int:
    """Measure one subject, print what was found and write the files that are asked for.

    Args:
        arguments: the command line; None takes the process's own.
        subjects: what measures each of them; None measures in earnest.

    Returns:
        0, or 1 when nothing could be measured, or 2 with one line on standard error when what
        was asked for makes no sense.
    """
    options = parse(arguments)
    try:
        settings = settings_of(options)
        configure_logs("error", "console")
        # Where torch.compile keeps its artefacts; it looks when it first compiles.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.cache_dir / "inductor"))
        report = (subjects or SUBJECTS)[options.subject](settings, options, _note)
        _show(report, options)
    except ValidationError as error:
        _note(f"bench: {describe_invalid(error)}")
    except ServiceError as error:
        _note(f"bench: {error.message}")
    else:
        return 0 if report.rows else 1
    return 2


def _show(report: Report, options: argparse.Namespace) -> None:
    document = orjson.dumps(report.document(), option=orjson.OPT_INDENT_2)
    text = document.decode() if options.json == "-" else as_text(report)
    sys.stdout.write(f"{text}\n")
    flag, path = "--json", options.json
    try:
        if path not in (None, "-"):
            Path(path).write_bytes(document)
        flag, path = "--plot", options.plot
        if path is not None:
            save_plot(report, path)
    except (OSError, ValueError) as error:  # no such folder, or an ending that is no format
        raise BadSetting(f"{flag} {path} cannot be written: {error}") from error


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _engines(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
    device = choose_device(settings.device)
    native = tuple(dict.fromkeys(("fp32", choose_precision("auto", device))))
    budget_s = 60 * (options.minutes or MINUTES[options.quick]) - TIDYING_UP_S
    is_whole = device.type == "cpu" and not options.quick
    bench = EngineBench(
        spec=_spec_of(options),
        engines=options.engines,
        precisions=options.precisions or ((*native, "int8") if is_whole else native),
        batches=options.batch or BATCHES[options.quick],
        threads=_threads(settings),
        peer_forms=(AS_WRITTEN,) if options.quick else FORMS,
        device=device,
        pace=Pace(options.rounds, CLOCK() + budget_s),
        with_start_up=not options.quick,
        with_shipped=not options.quick,
    )
    return bench_engines(bench, note, CLOCK)


def _decode(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
    if options.pictures is not None and not options.pictures.is_dir():
        raise BadSetting(f"--pictures {options.pictures} is not a folder")
    model = None if options.model is None else _model_of_store(settings, options.model)
    machine = describe(1, ("pillow",))
    note("decoding pictures")
    pace = Pace(options.rounds, CLOCK() + DECODE_BUDGET_S[options.quick])
    return bench_decode(pace, machine, CLOCK, model=model, folder=options.pictures)


def _service(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
    spec, libraries = _spec_of(options), ("uvicorn", "fastapi")
    machine = in_short_lived_thread(describe, _threads(settings), libraries, spec)
    model = in_short_lived_thread(_random_model, spec)
    note("starting the service")
    return bench_service(
        model,
        settings.model_copy(update={"tiered": False}),
        machine,
        note,
        CLOCK,
        clients=CLIENTS,
        rounds=options.rounds or SERVICE_ROUNDS[options.quick],
        window_s=WINDOW_S[options.quick],
    )


def _predict(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
    spec = _spec_of(options)
    if options.model is None:
        model = in_short_lived_thread(_random_model, spec)
    else:
        model = _model_of_store(settings, options.model)
        spec = model.manifest.spec
    note("starting the engine")
    return bench_predict(
        model,
        settings.model_copy(update={"tiered": False}),
        in_short_lived_thread(describe, _threads(settings), (), spec),
        note,
        CLOCK,
        rounds=options.rounds or SERVICE_ROUNDS[options.quick],
        window_s=WINDOW_S[options.quick],
    )


def _profile(settings: Settings, options: argparse.Namespace, note: Note) -> Report:
    spec, threads = _spec_of(options), _threads(settings)
    torch.set_num_threads(threads)
    rounds = options.rounds or PROFILE_ROUNDS[options.quick]
    machine = describe(threads, network=spec)
    return bench_profile(_random_model(spec), options.batch, rounds, note, machine)


SUBJECTS: dict[str, Measure] = {
    "engines": _engines,
    "decode": _decode,
    "service": _service,
    "predict": _predict,
    "profile": _profile,
}


def _spec_of(options: argparse.Namespace) -> ResNetSpec:
    # Quick engines take a small one: building is what takes long.
    is_small = options.quick and options.subject == "engines"
    arch = options.arch or ("sge_resnet18" if is_small else "sge_resnet50")
    spec = ResNetSpec(arch, groups=options.groups, input_px=options.size)
    try:
        spec.check()
    except ValueError as error:
        raise BadSetting(str(error)) from error
    return spec


def _model_of_store(settings: Settings, name: str) -> LoadedModel:
    only = settings.model_copy(update={"models": (name,)})
    return load_contents(only, lambda _: None).models[-1]


def _random_model(spec: ResNetSpec) -> LoadedModel:
    with tempfile.TemporaryDirectory(prefix="sge-bench-") as store:
        return random_model(spec, Path(store))


def _threads(settings: Settings) -> int:
    return choose_threads(settings.threads, core_quota())


if __name__ == "__main__":
    sys.exit(main())
