"""What a request of `/infer` asks for, by whichever wire it came, and the rules it has to keep."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.api.v2.tensors import TensorSpec, Values
from service.errors import BadRequest
from service.serving.turns import LOWEST_PRIORITY

LONGEST_ID = 256
LONGEST_TIMEOUT_US = 3_600_000_000
MOST_TENSORS = 8  # that a request may name, of inputs and of outputs
MOST_SIDES = 8  # of a shape

Parameters = Mapping[str, Any]
"""Parameters of a request, an input or an output, by name."""


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output, and how the client wants it.

    Attributes:
        spec: of the output.
        is_binary: as raw bytes rather than in the JSON.
        classes: the best so many as text, `score:index:label`, in place of the numbers; 0: not so.
    """

    spec: TensorSpec
    is_binary: bool
    classes: int


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client wants of a model.

    Attributes:
        id: the client's, to be echoed; empty for none.
        images: values of the model's one input, the batch first.
        outputs: in the order of the reply.
        timeout_ms: for how long the answer is of use, if the client says.
        priority: its class, 1 the most important; 0 for none named.
    """

    id: str
    images: Values
    outputs: tuple[RequestedOutput, ...]
    timeout_ms: float | None
    priority: int = 0


def refuse_reserved(parameters: Parameters) -> None:
    """Refuse parameters whose names the protocol keeps to itself.

    Raises:
        BadRequest: there is one.
    """
    for name in parameters:
        if name.startswith("triton_"):
            raise BadRequest(f"the request's parameter {name[:80]!r} is not supported")


def read_timeout(parameters: Parameters) -> float | None:
    """The milliseconds for which an answer is of use, where the request says.

    Raises:
        BadRequest: it says something else.
    """
    microseconds = parameters.get("timeout")
    if microseconds is None or microseconds == 0:  # 0 is the protocol's word for none
        return None
    is_number = isinstance(microseconds, int) and not isinstance(microseconds, bool)
    if not is_number or not 0 < microseconds <= LONGEST_TIMEOUT_US:
        raise BadRequest(f"timeout is {shown(microseconds)}, the limit is {LONGEST_TIMEOUT_US} us")
    return float(microseconds) / 1000


def read_priority(parameters: Parameters) -> int:
    """The class of a request, 1 the most important; 0 where it names none.

    Raises:
        BadRequest: there is no such class.
    """
    priority = parameters.get("priority", 0)
    is_number = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_number or not 0 <= priority <= LOWEST_PRIORITY:
        raise BadRequest(
            f"priority is {shown(priority)}, there are 1 (first) to {LOWEST_PRIORITY} (last)"
        )
    return int(priority)


def require_one_input(names: Sequence[str], image: TensorSpec) -> None:
    """Refuse a request whose inputs are not the model's one.

    Raises:
        BadRequest: they are others.
    """
    if list(names) != [image.name]:
        named = ", ".join(name[:80] for name in names) or "none"
        raise BadRequest(f"the inputs are {named}, the model takes {image.name}")


def check_shape(
    image: TensorSpec, datatype: str, shape: Sequence[int], limit_images: int
) -> tuple[int, ...]:
    """Compare an input with the model's, before anything of it is read; returns its shape.

    Raises:
        BadRequest: it does not fit, or holds more images than a request may.
    """
    fitting = image.check(datatype, shape)
    if fitting[0] > limit_images:
        raise BadRequest(f"the request holds {fitting[0]} images, the limit is {limit_images}")
    return fitting


def read_outputs(
    asked: Sequence[tuple[str, Parameters]],
    outputs: Sequence[TensorSpec],
    is_binary: Callable[[Parameters], bool],
) -> tuple[RequestedOutput, ...]:
    """Read which outputs a request wants, and how; all of them where it names none.

    Args:
        asked: names and parameters, in the order of the reply.
        outputs: of the model.
        is_binary: tells from an output's parameters.

    Raises:
        BadRequest: outputs that the model does not have, or cannot give so.
    """
    specs = {spec.name: spec for spec in outputs}
    wanted = asked or [(name, {}) for name in specs]
    names = [name for name, _ in wanted]
    for name in names:
        if name not in specs or names.count(name) > 1:
            raise BadRequest(f"output {name[:80]!r}: each of {', '.join(specs)} may be there once")
    return tuple(
        RequestedOutput(
            specs[name],
            is_binary(parameters),
            _read_classes(specs[name], parameters.get("classification", 0)),
        )
        for name, parameters in wanted
    )


def _read_classes(spec: TensorSpec, classes: object) -> int:
    is_count = isinstance(classes, int) and not isinstance(classes, bool) and classes >= 0
    if not is_count or (classes and spec.name != "PROBS"):
        raise BadRequest(f"{spec.name}: classification {shown(classes)} is not supported")
    return min(int(classes), *spec.dims)  # type: ignore[call-overload, no-any-return]


def shown(value: object) -> str:
    """What a client sent, short enough to be sent back."""
    return reprlib.repr(value)
