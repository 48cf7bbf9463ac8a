"""What stands for the names that a file may use: values, and never large ones."""

from __future__ import annotations

import pathlib
import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch

from service.errors import BadCheckpoint
from service.model.foreign.leaves import entries_named
from service.model.foreign.read import read_checkpoint
from service.model.foreign.safe_types import SAFE_TYPES
from service.model.weights_file import read_content
from tests.store_fixtures import pickled

CALLED = {name: made for made, name in SAFE_TYPES if callable(made)}


class Calls:
    """Unpickled, it calls something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def shared(levels: int) -> list[Any]:
    """A list that holds one list ten times, which holds one ten times, and so on."""
    nested: list[Any] = [0]
    for _ in range(levels):
        nested = [nested] * 10
    return nested


def read(content: object) -> Any:
    """What a file of this content holds."""
    return read_content(pickled({"held": content}), "net.pth", SAFE_TYPES)["held"]


HOSTILE: dict[str, tuple[Any, ...]] = {
    "a list that is a thousand million": (shared(9),),
    "bytes of a codec": (b"a", "cp1006"),
    "a file": (pathlib.Path(__file__),),
    "its path": (__file__, "w"),
    "a long text": ("a" * 100_000,) * 3,
    "a long number": ("9" * 100_000,),
    "a great number": (10**100,),
    "a module": ("os", "system"),
    "nothing": (),
}


@pytest.mark.parametrize("arguments", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", CALLED)
def test_what_stands_for_a_type_makes_a_small_value_or_none(
    name: str, arguments: tuple[Any, ...]
) -> None:
    """Whatever a file says: nothing is imported, and no text is made of what has no end."""
    modules = {*sys.modules}

    try:
        made = CALLED[name](*arguments)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        made = None

    is_given = any(made is argument for argument in arguments)
    assert is_given or sys.getsizeof(made) < 10_000
    assert {*sys.modules} <= modules


def test_types_that_are_kept_as_values_are_names() -> None:
    """As `type=int` of an argument is: nothing can be called by them."""
    names = {made for made, name in SAFE_TYPES if name.startswith("builtins.")}

    assert read(int) == "int"
    assert {"str", "int", "float", "bool", "list", "dict", "tuple"} <= names
    for call in (Calls(str, shared(9)), Calls(int, "0x" + "f" * 5000, 16), Calls(list, "a" * 99)):
        with pytest.raises(BadCheckpoint, match="no checkpoint, or a damaged one"):
            read(call)


def test_paths_do_not_grow_by_being_put_together() -> None:
    """Each of a file's paths may be a step of ten others."""
    path: Any = "a" * 1000
    for _ in range(6):
        path = Calls(pathlib.PurePosixPath, *[path] * 10)

    with pytest.raises(BadCheckpoint):
        read(path)


def test_a_version_of_torch_is_a_text() -> None:
    """And no text is made of anything else."""
    made = read(torch.__version__)

    assert (type(made), made) == (str, str(torch.__version__))
    with pytest.raises(BadCheckpoint):
        read(Calls(torch.torch_version.TorchVersion, shared(9)))


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.array([1, 2], ">i2"), [1, 2]),
        (np.array(["cat", "ox"]), ["cat", "ox"]),
        (np.array([True]), [True]),
        (np.array(["a", 1], dtype=object), ["a", 1]),
    ],
)
def test_arrays_of_numpy_are_their_values(array: Any, values: list[Any]) -> None:
    """They are read when they are asked for."""
    content = read_content(pickled({"classes": array}), "net.pth", SAFE_TYPES)

    assert list(entries_named(content, ("classes",))) == [("classes", values)]


def test_bytes_that_are_no_numbers_of_numpy_are_refused() -> None:
    """Objects of Python and halves of numbers, before anybody asks for them."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]

    for kind, content in (("O", pickle.dumps(1)), ("f8", b"1234"), ("i1", b"ab")):
        with pytest.raises(BadCheckpoint, match="no checkpoint, or a damaged one"):
            read(Calls(scalar, np.dtype(kind), content))


def test_a_bytearray_is_refused_before_it_is_made() -> None:
    """Torch makes one of as many zeros as a file asks for."""
    content = pickled({"held": Calls(bytearray, 10**11)})

    with pytest.raises(BadCheckpoint, match=r"^net\.pth holds a bytearray, which no weights are"):
        read_checkpoint(content, "net.pth")


def test_the_names_that_a_file_may_use_are_of_these_modules_alone() -> None:
    """None of them opens, runs, imports or looks anything up."""
    modules = {name.partition(".")[0] for _, name in SAFE_TYPES}
    of_builtins = {name for _, name in SAFE_TYPES if name.startswith("builtins.")}

    assert modules <= {
        *("argparse", "builtins", "collections", "datetime", "numpy", "pathlib", "torch", "types"),
        *("lightning", "lightning_fabric", "pytorch_lightning"),
    }
    assert of_builtins == {
        f"builtins.{name}"
        for name in ("list", "dict", "tuple", "frozenset", "bytes", "int", "float", "bool", "str")
    }
