"""Torch-TensorRT's way from an exported program to converters, followed without the library.

The steps are those of its `convert_exported_program_to_serialized_trt_engine`: decompositions,
lowering, then one converter for every node, which must suit the node. What is known of each step is
in `torch_tensorrt.json`.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch._export.utils import _collect_all_valid_cia_ops_for_aten_namespace, _get_decomp_for_cia
from torch.export import ExportedProgram
from torch.fx import Node

from tests.engines.tensorrt.read_source import RECORD

# They say how bytes lie, which TensorRT decides for itself, not which numbers they hold.
LAYOUT = {"device", "layout", "memory_format", "non_blocking", "pin_memory"}

CASTS = {torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.bool}


def passes_through(node: Node) -> bool:
    """Whether a node reads an input of the program and is an output of it."""
    inputs = [source.op for source in node.all_input_nodes]
    return "placeholder" in inputs and "output" in [user.op for user in node.users]


# What the named check of a converter asks of a node; the names are those in the record.
CHECKS: dict[str | None, Callable[[Node], bool]] = {
    None: lambda node: True,
    "to_copy_dtype_validator(placeholder_only=False)": lambda node: (
        node.kwargs["dtype"] in CASTS and not passes_through(node)
    ),
    "lambda node, settings: not is_only_operator_on_placeholder(node, settings)": lambda node: (
        not passes_through(node)
    ),
    "max_pool_param_validator": lambda node: len(node.args) <= 4,  # no dilation, no ceil_mode
    "convolution_capability_validator": lambda node: True,  # refuses for TensorRT-RTX alone
}


# The package's own decompositions that are followed here, each valid as long as it calls the same.
OWN: dict[str, tuple[list[str], Callable[..., Any]]] = {
    "aten.reciprocal.default": (["torch.div"], lambda x: torch.div(1, x)),
    "aten.view.default": (["aten._reshape_copy.default"], torch.ops.aten._reshape_copy.default),
}


@functools.cache
def record() -> dict[str, Any]:
    """What was read from the package's source."""
    content: dict[str, Any] = json.loads(RECORD.read_bytes())
    return content


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """Decompose a program as the package does."""
    groups = record()["decompositions"]
    kept = {resolve(name) for name in groups["disabled"]}
    composite = _collect_all_valid_cia_ops_for_aten_namespace()
    followed = {name: way for name, (calls, way) in OWN.items() if groups["own"][name] == calls}
    decomposed: ExportedProgram = program.run_decompositions(
        {
            **get_decompositions([resolve(name) for name in groups["enabled"]]),
            **{op: _get_decomp_for_cia(op) for op in composite if op not in kept},
            **{resolve(name): way for name, way in followed.items()},
        }
    )
    return decomposed


def resolve(name: str) -> Any:
    """The operation of a dotted name, an overload or all of them."""
    return operator.attrgetter(name)(torch.ops)


def refusals(program: ExportedProgram) -> list[str]:
    """The nodes of a program, as they are told, for which no converter was found.

    Args:
        program: exported with a dynamic batch, not decomposed.
    """
    calls = [node for node in decomposed(program).graph.nodes if node.op == "call_function"]
    return sorted({told for node in calls for told in refusal(node)})


def refusal(node: Node) -> Iterator[str]:
    """Say that a node has no converter; nothing where it has one or lowering removes it."""
    name = str(node.target)
    passes = record()["passes"]
    if name in passes["erased"] or first_of_replaced(node):
        return
    if name in passes["replaced"] and all(first_of_replaced(user) for user in node.users):
        name = passes["replaced"][name]
    own = record()["decompositions"]["own"]
    is_taken_apart = name in own or name.rpartition(".")[0] in own
    converters = [] if is_taken_apart else record()["converters"].get(name, [])
    if not any(suits(converter, node) for converter in converters):
        yield f"{name} {len(node.args)} arguments, {sorted(node.kwargs)}"


def first_of_replaced(node: Node) -> bool:
    """Whether a node takes the first output of one that lowering replaces."""
    return (
        node.target is operator.getitem
        and str(node.all_input_nodes[0].target) in record()["passes"]["replaced"]
        and node.args[1:] == (0,)
    )


def suits(converter: dict[str, Any], node: Node) -> bool:
    """Whether a converter takes a dynamic batch and the node, and reads all that the node says."""
    positions, keywords = converter["positions"], converter["keywords"]
    return (
        converter["dynamic"]
        and converter["check"] in CHECKS
        and CHECKS[converter["check"]](node)
        and (positions is None or {*range(len(node.args))} <= {*positions})
        and (keywords is None or {*node.kwargs} - LAYOUT <= {*keywords})
    )
