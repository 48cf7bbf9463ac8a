"""An import in words: what is read, what is left out, what the model is, and who says so."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from service.commands.importing.card import describe_input, gate_of
from service.commands.importing.plan import ImportPlan
from service.commands.importing.sources import IN_CHECKPOINT
from service.config import Settings
from service.store.labels import PLACEHOLDERS
from service.store.preprocessing import USUAL

_WIDTH = 14
_LINES = 12  # of what is left out; a training script's own names seldom are more


def describe_plan(plan: ImportPlan) -> Iterator[str]:
    """The report, line by line. What a file says is made printable."""
    for heading, text in _entries(plan):
        shown = "".join(letter if letter.isprintable() else "?" for letter in text)
        yield f"{heading:{_WIDTH}}{shown}"


def next_step(plan: ImportPlan, store: Path) -> str:
    """The one line that says what to run next."""
    if plan.request.is_dry_run:
        return "next: the same without --dry-run"
    command = f"sge-serve predict PICTURE --model {plan.new.name} --version {plan.new.version}"
    is_usual = store == Settings.model_fields["model_store"].default
    return f"next: {command}" + ("" if is_usual else f" --model-store {shlex.quote(str(store))}")


def _entries(plan: ImportPlan) -> Iterator[tuple[str, str]]:
    yield from _of_file(plan)
    spec, found = plan.new.network.spec, plan.checkpoint.recognised
    how = "inferred" if plan.request.architecture is None else "as asked for"
    yield "architecture", f"{spec.architecture}, {how}: {found.why}, {spec.classes} classes"
    if spec.stem == "small":
        yield "", "small stem by its 3x3 convolution; assumed are stride 2 and no pooling"
    yield "SGE", _sge_of(plan)
    yield "input", describe_input(plan.new.input)
    yield "", plan.input.who_says()
    for complaint in plan.input.passed_over:
        yield "", f"passed over as a whole: {complaint}"
    if set(plan.input.origins.values()) == {USUAL}:
        yield "", "nothing says so: compare it with the transforms of your validation"
    names = plan.labels.names
    some = ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])} ... {names[-1]}"
    yield "labels", f"{some}; {plan.labels.origin}"
    if plan.labels.origin == PLACEHOLDERS:
        yield "", "--labels names them"


def _of_file(plan: ImportPlan) -> Iterator[tuple[str, str]]:
    unwrapped, weights = plan.checkpoint.unwrapped, plan.checkpoint.weights
    yield (
        "file",
        f"{plan.request.file}, {plan.size_bytes / 1e6:.1f} MB, sha256 {plan.sources.sha256}",
    )
    numbers = sum(value.numel() for value in weights.values())
    part = f"{unwrapped.part}: " if unwrapped.part else ""
    precisions = " and ".join(plan.checkpoint.precisions)
    yield "weights", f"{part}{len(weights)} tensors, {numbers / 1e6:.1f} million {precisions}"
    for note in unwrapped.notes:
        yield "", note
    left_out = unwrapped.left_out
    for index, left in enumerate(left_out[:_LINES]):
        yield "" if index else "left out", f"{left.name}: {left.what}{_use_of(left.name, plan)}"
    if len(left_out) > _LINES:
        yield "", f"and {len(left_out) - _LINES} more"


def _use_of(name: str, plan: ImportPlan) -> str:
    """Whether labels or the input were read from something that is not imported itself."""
    uses = {"the labels": [plan.labels.origin], "the input": list(plan.input.origins.values())}
    read = [
        use
        for use, origins in uses.items()
        for origin in dict.fromkeys(origins)
        if origin.endswith(IN_CHECKPOINT) and origin.startswith((f"{name} ", f"{name}."))
    ]
    return f"; read for {' and '.join(read)}" if read else ""


def _sge_of(plan: ImportPlan) -> str:
    groups = plan.new.network.spec.groups
    if not plan.new.sge_inserted:
        return f"{groups} groups, part of the checkpoint"
    return (
        f"{groups} groups, inserted so that the function stays the same: every gate is "
        f"{gate_of(plan.new):.3f}, and only similarities show something"
    )
