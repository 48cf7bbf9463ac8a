"""The pictures of a sweep."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from tests.load.arrivals import ArrivalKind
from tests.load.step import Step
from tests.load.sweep import Sweep

LINE: dict[ArrivalKind, str] = {"poisson": "-", "constant": "--"}
PHASES = ("decode", "queue", "infer", "postprocess")


def draw(sweep: Sweep) -> Figure:
    """Draw latency, goodput, batches and processors against the rate."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    (latency, goodput), (phases, cores) = figure.subplots(2, 2)
    for kind in sweep.plan.arrivals:
        steps = sweep.steps_of(kind)
        _draw_latency(latency, steps, kind)
        _draw_goodput(goodput, steps, kind)
        _draw_cores(cores, steps, kind)
    _draw_phases(phases, sweep.steps_of(sweep.plan.arrivals[0]))
    latency.axhline(sweep.plan.deadline_s * 1000, color="grey", linewidth=0.8)
    top = max(step.rate for step in sweep.steps)
    goodput.plot([0, top], [0, top], color="grey", linewidth=0.8)
    goodput.set_ylim(bottom=0)
    cores.set_ylim(bottom=0)  # only now: it ends the scaling to what is drawn
    for axes in (latency, goodput, phases, cores):
        axes.set_xlabel("requests due per second")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        if knee := sweep.knees[sweep.plan.arrivals[0]].held:
            axes.axvline(knee, color="grey", linestyle=":", linewidth=1)
    return figure


def _draw_latency(axes: Axes, steps: list[Step], kind: ArrivalKind) -> None:
    rates = [step.rate for step in steps]
    quantiles = {
        "p50": [step.latency.p50_ms for step in steps],
        "p90": [step.latency.p90_ms for step in steps],
        "p99": [step.latency.p99_ms for step in steps],
    }
    for colour, (name, times_ms) in enumerate(quantiles.items()):
        axes.plot(
            rates, times_ms, LINE[kind], marker=".", color=f"C{colour}", label=f"{name}, {kind}"
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("latency from the moment a request was due, ms")


def _draw_goodput(axes: Axes, steps: list[Step], kind: ArrivalKind) -> None:
    rates = [step.rate for step in steps]
    in_time = [step.goodput for step in steps]
    axes.plot(rates, in_time, LINE[kind], marker=".", color="C0", label=f"in time, {kind}")
    axes.set_title("answers per second within the deadline")


def _draw_phases(axes: Axes, steps: list[Step]) -> None:
    rates = [step.rate for step in steps]
    means_ms = [[step.service.phases[phase].mean * 1000 for step in steps] for phase in PHASES]
    axes.stackplot(rates, means_ms, labels=PHASES, alpha=0.6)
    sizes = axes.twinx()
    batch_sizes = [step.service.batch_size.mean for step in steps]
    sizes.plot(rates, batch_sizes, "k.-", label="images in a batch (right)")
    sizes.set_ylim(bottom=0)
    sizes.legend(fontsize="small", loc="lower right")
    axes.set_title("mean times of the service's phases, ms")


def _draw_cores(axes: Axes, steps: list[Step], kind: ArrivalKind) -> None:
    rates = [step.rate for step in steps]
    server = [step.cores.server or 0.0 for step in steps]
    client = [step.cores.client for step in steps]
    axes.plot(rates, server, LINE[kind], marker=".", color="C3", label=f"server, {kind}")
    axes.plot(rates, client, LINE[kind], marker=".", color="C2", label=f"client, {kind}")
    axes.set_title("cores in use")


def as_svg(sweep: Sweep) -> str:
    """The picture as an element of a page."""
    file = io.StringIO()
    draw(sweep).savefig(file, format="svg")
    text = file.getvalue()
    return text[text.index("<svg") :]


def save_png(sweep: Sweep, path: Path) -> None:
    """The picture as a file."""
    draw(sweep).savefig(path, dpi=90)
