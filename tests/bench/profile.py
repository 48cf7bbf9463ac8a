"""`make bench ARGS=profile`: where a forward pass spends its time, with SGE and without.

All forms are compiled for the CPU, so that every kernel tells torch's profiler of itself, and run
by turns.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._inductor import config as inductor_config
from torch.profiler import ProfilerActivity, profile, record_function

from service.engines.aoti.build import ToCompile, export_network
from service.engines.aoti.kernels.use import use_kernels
from service.engines.aoti.package import NETWORK
from service.errors import EngineFailed
from service.store.load import LoadedModel
from tests.bench.entrants import CannotRun, Note, first_line, random_pixels
from tests.bench.networks import (
    FUSED,
    PLAIN,
    PLAIN_BY_KERNELS,
    convolution_operations,
    graph_of,
)
from tests.bench.ours import compiled_per_shape
from tests.bench.programs import compiled_program, plain_by_kernels
from tests.bench.report import Absent, Label, Part, Report
from tests.bench.rounds import row_of

CONVOLUTIONS, SGE, OTHERS = "convolutions", "SGE, residual sum, ReLU", "other kernels"
BETWEEN = "between kernels"
WHOLE = "a whole pass"
WARM_UPS = 3

# What the compiler calls its loops tells what is computed in them.
_OF_SGE = ("sigmoid", "sqrt", "pow")
_OUR_CONVOLUTION, _OUR_COMPARISON = "aoti_torch_cpu_convolve", "aoti_torch_cpu_compare"

Pass = Callable[[], object]
Seen = Mapping[str, float]
"""Milliseconds by the name of a kernel, and of `WHOLE`."""


def bench_profile(
    model: LoadedModel, batch: int, rounds: int, note: Note, machine: Mapping[str, Any]
) -> Report:
    """Compile the network with SGE and without, run all by turns, and sum their kernels up."""
    pixels = torch.from_numpy(random_pixels(batch, model.manifest.input.size_px))
    passes: dict[str, Pass] = {}
    absent: list[Absent] = []
    for form, build in FORMS:
        note(f"compiling the network, {form}")
        try:
            passes[form] = compiled_by(build, form, model, pixels)
        except CannotRun as error:
            absent.append(Absent(form, str(error)))
    note("all run by turns")
    seen = by_turns(passes, rounds)
    operations = convolution_operations(model.manifest.spec) * batch
    return Report(
        machine=machine,
        rows=tuple(
            row_of(Label("compiled", form, "fp32", batch), [one[WHOLE] / 1000 for one in passed])
            for form, passed in seen.items()
        ),
        parts=[p for form, passed in seen.items() for p in parts(form, passed, operations)],
        absent=absent,
        notes=(
            f"{rounds} passes of each, by turns, under torch's profiler; parts are means",
            f"'{PLAIN}' is compiled for this batch, the others for any, as the service's",
            "GFLOP/s count every convolution as a direct product, whatever its method",
            "convolutions of ours apply SGE's gates, the residual sum and ReLU as they write",
            "fp32 on the CPU, a whole batch at once",
        ),
    )


def compiled_by(
    build: Callable[[LoadedModel, Tensor], Pass], form: str, model: LoadedModel, pixels: Tensor
) -> Pass:
    """Compile a form.

    Raises:
        EngineFailed: the compiler is missing or fails.
    """
    try:
        return build(model, pixels)
    except (OSError, RuntimeError) as error:
        reason = first_line(error)
        raise EngineFailed(f"the network cannot be compiled, {form}: {reason}") from error


def plain_pass(model: LoadedModel, pixels: Tensor) -> Pass:
    """The network without SGE, compiled for this very batch."""
    graph = graph_of(model, PLAIN, "fp32")
    compiled = compiled_per_shape(graph, {"cpp.enable_kernel_profile": True})
    with torch.inference_mode(), inductor_config.patch(freezing=True):
        compiled(pixels)  # the first run compiles
    return functools.partial(compiled, pixels)


def plain_by_kernels_pass(model: LoadedModel, pixels: Tensor) -> Pass:
    """The network without SGE, its convolutions ours where they are faster."""
    return _pass_of(plain_by_kernels(model), pixels)


def fused_pass(model: LoadedModel, pixels: Tensor) -> Pass:
    """The network with SGE as the compiled engine builds it."""
    graph, side_px = graph_of(model, FUSED, "fp32"), model.manifest.input.size_px
    kernels = use_kernels(graph, side_px)
    programs = {NETWORK: lambda: export_network(graph, side_px)}
    return _pass_of(ToCompile(programs, kernels), pixels)


def _pass_of(wanted: ToCompile, pixels: Tensor) -> Pass:
    program = compiled_program(wanted, profiled=True)
    return lambda: program([pixels])


FORMS = (
    (PLAIN, plain_pass),
    (PLAIN_BY_KERNELS, plain_by_kernels_pass),
    (FUSED, fused_pass),
)


def by_turns(passes: Mapping[str, Pass], rounds: int) -> dict[str, list[Seen]]:
    """Profile one pass of each form a round, after some that are not."""
    seen: dict[str, list[Seen]] = {form: [] for form in passes}
    with torch.inference_mode():
        for run in passes.values():
            for _ in range(WARM_UPS):
                run()
        for _ in range(rounds):
            for form, run in passes.items():
                seen[form].append(profiled(run))
    return seen


def profiled(run: Pass) -> Seen:
    """Run once; say what each kernel took by itself, and how long it all was."""
    with profile(activities=[ProfilerActivity.CPU]) as watched, record_function(WHOLE):
        run()
    events = watched.key_averages()
    times = {event.key: event.self_cpu_time_total / 1000 for event in events}
    return times | {e.key: e.cpu_time_total / 1000 for e in events if e.key == WHOLE}


def kind_of(kernel: str) -> str:
    """What a kernel of any form computes, by its name.

    Our convolutions multiply by SGE's gates, add the shortcut and cut off below 0 as they write.
    """
    if "cpp_fused" in kernel:  # a loop may be called after what it follows
        return SGE if any(name in kernel for name in _OF_SGE) else OTHERS
    if "convolution" in kernel or kernel == _OUR_CONVOLUTION:
        return CONVOLUTIONS
    if kernel == _OUR_COMPARISON:
        return SGE
    return OTHERS if "linear" in kernel or "addmm" in kernel else BETWEEN


def parts(form: str, rounds: Sequence[Seen], operations: float) -> Iterator[Part]:
    """Sum a form's kernels up by kind; `operations` are those of a pass's convolutions."""
    whole = sum(seen[WHOLE] for seen in rounds)
    kinds = dict.fromkeys((CONVOLUTIONS, SGE, OTHERS), 0.0)
    for kernel, spent in itertools.chain.from_iterable(seen.items() for seen in rounds):
        if (kind := kind_of(kernel)) in kinds:
            kinds[kind] += spent
    kinds[BETWEEN] = whole - sum(kinds.values())
    for kind, spent in kinds.items():
        ms = spent / len(rounds)
        rate = operations / ms / 1e6 if kind == CONVOLUTIONS and ms else None
        yield Part(form, kind, ms, spent / whole, rate)
