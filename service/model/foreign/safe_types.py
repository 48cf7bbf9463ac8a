"""What a training script puts beside its weights, and what is made of it: plain values.

torch's restricted unpickler asks for each name that it does not know itself. Those listed here get
a type that does nothing but hold values, or a stand-in of ours that makes such a value; numpy and
the file system see nothing of the file. Every other name is refused.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import types
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from torch.torch_version import TorchVersion

from service.model.weights_file import SafeType

_NUMBERS = re.compile(r"[fiub][1248]")


class NumpyType:
    """Stands for `numpy.dtype`: its name and the order of its bytes."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = str(name)
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def read(self, content: bytes) -> list[Any]:
        """The numbers or texts in a run of bytes."""
        if _NUMBERS.fullmatch(self.name):
            return list(np.frombuffer(content, f"{self.order}{self.name}").tolist())
        if re.fullmatch(r"U[1-9]\d{0,3}", self.name):
            width = 4 * int(self.name[1:])
            codec = "utf-32-be" if self.order == ">" else "utf-32-le"
            texts = (content[at : at + width] for at in range(0, len(content), width))
            return [text.decode(codec).rstrip("\0") for text in texts]
        raise ValueError(f"no numbers of numpy's type {self.name!r}")


class NumpyArray:
    """Stands for `numpy.ndarray`: its values in a row."""

    def __init__(self, *_: object) -> None:
        self.values: list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, kind, _, content = state
        self.values = list(content) if isinstance(content, list) else kind.read(content)


class PlainDict:
    """Stands for classes that are dicts with other manners: a dict is made."""

    def __new__(cls, *_: object) -> Any:
        """Make the dict."""
        return {}


def _scalar(kind: NumpyType, content: bytes) -> Any:
    (value,) = kind.read(content)
    return value


def _default_dict(*_: object) -> dict[Any, Any]:
    return {}


def _deque(*_: object) -> list[Any]:
    return []


def _no_bytes() -> bytes:
    return b""


def _posix_path(*steps: str) -> str:
    return str(PurePosixPath(*steps))


def _windows_path(*steps: str) -> str:
    return str(PureWindowsPath(*steps))


def _of(module: str, **made: Any) -> list[SafeType]:
    return [(stand_in, f"{module}.{name}") for name, stand_in in made.items()]


def _numpy(core: str) -> list[SafeType]:
    return _of(f"numpy.{core}.multiarray", scalar=_scalar, _reconstruct=NumpyArray)


def _paths(module: str) -> list[SafeType]:
    posix = _of(module, Path=_posix_path, PosixPath=_posix_path, PurePosixPath=_posix_path)
    return posix + _of(module, WindowsPath=_windows_path, PureWindowsPath=_windows_path)


def _lightning(package: str) -> list[SafeType]:
    """Early releases name their callbacks by class; hyper-parameters come as a kind of dict."""
    return [
        *_of(f"{package}.callbacks.model_checkpoint", ModelCheckpoint="ModelCheckpoint"),
        *_of(f"{package}.callbacks.early_stopping", EarlyStopping="EarlyStopping"),
        *_of(f"{package}.utilities.parsing", AttributeDict=PlainDict),
    ]


SAFE_TYPES: tuple[SafeType, ...] = (
    *_of("argparse", Namespace=argparse.Namespace),
    *_of("types", SimpleNamespace=types.SimpleNamespace),
    *_of("builtins", list=list, dict=dict, tuple=tuple, frozenset=frozenset, bytes=_no_bytes),
    *_of("builtins", int=int, float=float, bool=bool, str=str),
    *_of("collections", defaultdict=_default_dict, deque=_deque),
    *_of("datetime", datetime=dt.datetime, date=dt.date, time=dt.time),
    *_of("datetime", timedelta=dt.timedelta, timezone=dt.timezone),
    *_of("torch.torch_version", TorchVersion=TorchVersion),
    *_of("numpy", dtype=NumpyType, ndarray=NumpyArray),
    *(_numpy("core") + _numpy("_core")),
    *(_paths("pathlib") + _paths("pathlib._local")),
    *(_lightning("pytorch_lightning") + _lightning("lightning.pytorch")),
    *_of("lightning.fabric.utilities.data", AttributeDict=PlainDict),
    *_of("lightning_fabric.utilities.data", AttributeDict=PlainDict),
)
