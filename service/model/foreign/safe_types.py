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

from service.model.weights_file import SafeType

PATH_LIMIT = 4096  # characters, as on Linux

_NUMBERS = re.compile(r"[fiu][248]|[iub]1")
_TEXTS = re.compile(r"U[1-9]\d{0,3}")


class PlainText:
    """Stands for classes that are texts with other manners: the text is taken as it is."""

    def __new__(cls, text: object = "") -> Any:
        """Take the text."""
        if type(text) is not str:
            raise TypeError("no text")
        return text


class NumpyType:
    """Stands for `numpy.dtype`: its name and the order of its bytes."""

    def __init__(self, name: str, *_: object) -> None:
        self.name: str = PlainText(name)
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def count(self, content: bytes) -> int:
        """How many numbers or texts a run of bytes holds.

        Raises:
            ValueError: they are neither, or do not end with the bytes.
        """
        is_text = _TEXTS.fullmatch(self.name)
        if not isinstance(content, bytes) or not (is_text or _NUMBERS.fullmatch(self.name)):
            raise ValueError("no numbers or texts of numpy's")
        width = int(self.name[1:]) * (4 if is_text else 1)
        if len(content) % width:
            raise ValueError("half a number of numpy's")
        return len(content) // width

    def read(self, content: bytes) -> list[Any]:
        """The numbers or texts in a run of bytes that `count` counts."""
        if _NUMBERS.fullmatch(self.name):
            return list(np.frombuffer(content, f"{self.order}{self.name}").tolist())
        width = 4 * int(self.name[1:])
        codec = "utf-32-be" if self.order == ">" else "utf-32-le"
        texts = (content[at : at + width] for at in range(0, len(content), width))
        return [text.decode(codec, "replace").rstrip("\0") for text in texts]


class NumpyArray:
    """Stands for `numpy.ndarray`: its values in a row."""

    def __init__(self, *_: object) -> None:
        self._kind = NumpyType("")
        self._content: Any = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, kind, _, content = state
        if not isinstance(content, list):
            kind.count(content)
        self._kind, self._content = kind, content

    @property
    def values(self) -> list[Any]:
        """Read when they are asked for: many arrays may share the bytes of one."""
        if isinstance(self._content, list):
            return self._content
        return self._kind.read(self._content)


class PlainDict:
    """Stands for classes that are dicts with other manners: a dict is made."""

    def __new__(cls, *_: object) -> Any:
        """Make the dict."""
        return {}


def _scalar(kind: NumpyType, content: bytes) -> Any:
    if kind.count(content) != 1:
        raise ValueError("a scalar is one number")
    return kind.read(content)[0]


def _default_dict(*_: object) -> dict[Any, Any]:
    return {}


def _deque(*_: object) -> list[Any]:
    return []


def _no_bytes() -> bytes:
    return b""


def _posix_path(*steps: str) -> str:
    return str(PurePosixPath(*_short(steps)))


def _windows_path(*steps: str) -> str:
    return str(PureWindowsPath(*_short(steps)))


def _short(steps: tuple[str, ...]) -> tuple[str, ...]:
    """Steps that make a path no longer than a file system's: each of them may be long, and last."""
    if sum(map(len, steps)) > PATH_LIMIT or not all(isinstance(step, str) for step in steps):
        raise ValueError("no path of a file")
    return steps


def _frozen(values: Any = ()) -> Any:
    return values  # not copied: a file may ask for it as often as it likes


def _named(module: str, *names: str) -> list[SafeType]:
    """Types that are kept as values, as `type=int` is: only their names, which nothing calls."""
    return [(name, f"{module}.{name}") for name in names]


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
    *_of("builtins", frozenset=_frozen, bytes=_no_bytes),
    *_named("builtins", "list", "dict", "tuple", "int", "float", "bool", "str"),
    *_of("collections", defaultdict=_default_dict, deque=_deque),
    *_of("datetime", datetime=dt.datetime, date=dt.date, time=dt.time),
    *_of("datetime", timedelta=dt.timedelta, timezone=dt.timezone),
    *_of("torch.torch_version", TorchVersion=PlainText),
    *_of("numpy", dtype=NumpyType, ndarray=NumpyArray),
    *(_numpy("core") + _numpy("_core")),
    *(_paths("pathlib") + _paths("pathlib._local")),
    *(_lightning("pytorch_lightning") + _lightning("lightning.pytorch")),
    *_of("lightning.fabric.utilities.data", AttributeDict=PlainDict),
    *_of("lightning_fabric.utilities.data", AttributeDict=PlainDict),
)
