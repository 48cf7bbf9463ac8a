"""A checkpoint's bytes -> named float32 tensors, without running any code they may hold."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from service.errors import BadCheckpoint

Weights = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # BatchNorm's; evaluation does not use it, so it may be absent
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PICKLE_ENDINGS = (".pth", ".pt", ".pth.tar", ".bin", ".ckpt")

PACKED_ALLOWANCE_BYTES = 1_000_000  # torch.save packs nothing, but TorchScript its code

SafeType = tuple[Any, str]
"""What stands for a name that a file of torch may hold, and the name: `module.name`."""

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
    MemoryError,
    zipfile.BadZipFile,
)

_SAVE_WEIGHTS = "save its weights alone: torch.save(model.state_dict(), 'weights.pth')"
# How a file begins that people take for a checkpoint, and what it is instead.
_BEGINNINGS = {
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file that it stands for",
    b"<!DOCTYPE html": "a web page: the download went wrong",
    b"<html": "a web page: the download went wrong",
    b"\x89HDF": "an HDF5 file of Keras, and networks of torch are served",
    b"\x80\x04": "no checkpoint of torch.save but a plain pickle; save it by torch.save",
    b"\x80\x05": "no checkpoint of torch.save but a plain pickle; save it by torch.save",
}


def decode_weights(content: bytes, file_name: str) -> Weights:
    """Read weights by their names, without running any code the file may hold.

    Args:
        content: the file's bytes.
        file_name: its ending decides the format, `.safetensors` or one of torch's.

    Returns:
        Contiguous float32 copies, from any floating dtype; BatchNorm's counters are 0.

    Raises:
        BadCheckpoint: the format is unknown, the file is damaged or holds code, or an entry is
            not a floating-point tensor.
    """
    state = read_content(content, file_name)
    if not isinstance(state, Mapping):
        raise BadCheckpoint(f"{file_name} holds a {type(state).__name__}, not a state dict")
    return as_float32({str(name): value for name, value in state.items()}, file_name)


def read_content(content: bytes, file_name: str, safe: Sequence[SafeType] = ()) -> Any:
    """Read what a file holds, whatever that is, without running any code it may hold.

    Args:
        content: the file's bytes.
        file_name: its ending decides the format.
        safe: what else than torch's own types the file may name, and what is made for it.

    Raises:
        BadCheckpoint: the format is unknown, or the file is damaged or holds code.
    """
    name = file_name.lower()
    try:
        if name.endswith(".safetensors"):
            return safetensors.torch.load(content)
        if name.endswith(PICKLE_ENDINGS):
            _refuse_inflating(content, file_name)
            with warnings.catch_warnings(), torch.serialization.safe_globals(list(safe)):
                warnings.simplefilter("ignore")  # of pickle protocols that torch did not write
                return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except _UNREADABLE as error:
        raise BadCheckpoint(f"{file_name} {_describe_unreadable(error, content)}") from error
    endings = ", ".join((*PICKLE_ENDINGS, ".safetensors"))
    raise BadCheckpoint(f"{file_name} is no checkpoint by its name, which must end in {endings}")


def as_float32(state: Mapping[str, Any], file_name: str) -> Weights:
    """Contiguous float32 copies of weights, from any floating dtype; BatchNorm's counters are 0.

    Raises:
        BadCheckpoint: an entry is not a dense floating-point tensor on the CPU, or there is no
            memory for it.
    """
    refuse_other_than_floats(state, file_name)
    try:
        return {name: _normalised(name, value) for name, value in state.items()}
    except (RuntimeError, MemoryError) as error:  # torch's word for no memory is the first
        raise BadCheckpoint(f"there is no memory for the weights of {file_name}") from error


def refuse_other_than_floats(state: Mapping[str, Any], file_name: str) -> None:
    """Refuse what are no weights.

    Raises:
        BadCheckpoint: an entry is not a dense floating-point tensor on the CPU.
    """
    wrong = {name: _kind(value) for name, value in state.items() if not name.endswith(COUNTER)}
    named = [f"{name} ({kind})" for name, kind in wrong.items() if kind is not None]
    if named:
        raise BadCheckpoint(f"no floating-point tensors in {file_name}: {', '.join(named)}")


def _refuse_inflating(content: bytes, file_name: str) -> None:
    """Refuse what takes far more memory than the file has bytes, before any of it is read."""
    if b"bytearray\n" in content:  # torch would make one of any size, of zeros
        raise BadCheckpoint(f"{file_name} holds a bytearray, which no weights are made of")
    if not content.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > len(content) + PACKED_ALLOWANCE_BYTES:
        raise BadCheckpoint(
            f"{file_name} unpacks to {unpacked / 1e6:.0f} MB out of {len(content) / 1e6:.1f} MB, "
            "and torch.save packs nothing: unpack it, or save it again"
        )


def _describe_unreadable(error: Exception, content: bytes) -> str:
    """Say what a file is that cannot be read, as well as its first bytes and the error tell."""
    code = re.search(r"GLOBAL ([\w.]+)", str(error))  # what the pickle wanted to import and call
    if isinstance(error, pickle.UnpicklingError) and code:
        is_whole = b"torch.nn.modules." in content
        why = "whole modules were saved; " if is_whole else ""
        return f"holds code ({code[1]}), only plain weights are loaded: {why}{_SAVE_WEIGHTS}"
    if "TorchScript" in str(error):
        return f"is a TorchScript archive, which is code with weights: {_SAVE_WEIGHTS}"
    if content[:1] == b"\x08" and any(maker in content[:128] for maker in (b"onnx", b"pytorch")):
        return f"is an ONNX file; of the network it was made of, {_SAVE_WEIGHTS}"
    found = (what for start, what in _BEGINNINGS.items() if content.startswith(start))
    return f"is {next(found, 'no checkpoint, or a damaged one')}"


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
