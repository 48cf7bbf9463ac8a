"""A checkpoint's bytes -> named float32 tensors, without running any code they may hold."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from service.errors import BadCheckpoint

Weights = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # BatchNorm's; evaluation does not use it, so it may be absent
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PICKLE_ENDINGS = (".pth", ".pt", ".pth.tar")

# What torch's restricted unpickler and safetensors raise on files that are damaged or not theirs.
_UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    AssertionError,
)


def decode_weights(content: bytes, file_name: str) -> Weights:
    """Read a checkpoint without running any code it may hold.

    `{"state_dict": ...}` is unwrapped and the prefix `module.` taken off.

    Args:
        content: the file's bytes.
        file_name: its ending decides the format: `.safetensors`, `.pth`, `.pt` or `.pth.tar`.

    Returns:
        Contiguous float32 copies, from any floating dtype; BatchNorm's counters are 0.

    Raises:
        BadCheckpoint: the format is unknown, the file is damaged or holds code, or an entry is
            not a floating-point tensor.
    """
    state = _decode(content, file_name)
    if not isinstance(state, Mapping):
        raise BadCheckpoint(f"{file_name} holds a {type(state).__name__}, not a state dict")
    state = {str(name): value for name, value in state.items()}
    if isinstance(state.get("state_dict"), Mapping):
        state = {str(name): value for name, value in state["state_dict"].items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    _refuse_other_than_floats(state, file_name)
    return {name: _normalised(name, value) for name, value in state.items()}


def _decode(content: bytes, file_name: str) -> Any:
    try:
        if file_name.endswith(".safetensors"):
            return safetensors.torch.load(content)
        if file_name.endswith(PICKLE_ENDINGS):
            with warnings.catch_warnings():  # of pickle protocols that torch did not write
                warnings.simplefilter("ignore")
                return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except _UNREADABLE as error:
        raise BadCheckpoint(_describe_unreadable(error, file_name)) from error
    endings = ", ".join((*PICKLE_ENDINGS, ".safetensors"))
    raise BadCheckpoint(f"{file_name} is no checkpoint by its name, which must end in {endings}")


def _describe_unreadable(error: Exception, file_name: str) -> str:
    code = re.search(r"GLOBAL ([\w.]+)", str(error))  # what the pickle wanted to import and call
    if isinstance(error, pickle.UnpicklingError) and code:
        return f"{file_name} holds code ({code[1]}), only plain weights are loaded"
    return f"{file_name} is no checkpoint, or a damaged one"


def _refuse_other_than_floats(state: Mapping[str, Any], file_name: str) -> None:
    wrong = {name: _kind(value) for name, value in state.items() if not name.endswith(COUNTER)}
    named = [f"{name} ({kind})" for name, kind in wrong.items() if kind is not None]
    if named:
        raise BadCheckpoint(f"no floating-point tensors in {file_name}: {', '.join(named)}")


def _kind(value: Any) -> str | None:
    """Name what a value is instead of a dense floating-point tensor; None where it is one."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.layout is not torch.strided or value.device.type != "cpu":
        return f"{value.layout} on {value.device}".removeprefix("torch.")
    return None if value.dtype in FLOAT_DTYPES else str(value.dtype).removeprefix("torch.")


def _normalised(name: str, value: Any) -> Tensor:
    if name.endswith(COUNTER):
        return torch.tensor(0)
    layout = torch.contiguous_format
    return value.detach().to(torch.float32, copy=True, memory_format=layout)  # type: ignore[no-any-return]
