"""What is refused of a file: whatever would run, and whatever is no network of weights."""

from __future__ import annotations

import argparse
import builtins
import enum
import io
import os
import pickle
import resource
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from service.errors import BadCheckpoint
from service.model.foreign.read import adopt_checkpoint, read_checkpoint
from service.model.foreign.safe_types import SAFE_TYPES
from service.model.weights_file import as_float32, read_content
from tests.model.foreign.states import state_of
from tests.store_fixtures import TINY, pickled


class Calls:
    """Unpickled by plain `pickle`, it calls something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Colour(enum.Enum):
    """A class of a training script."""

    RED = 1


def refusal(content: bytes, file_name: str = "net.pth") -> str:
    """Why a file is refused."""
    with pytest.raises(BadCheckpoint) as caught:
        read_checkpoint(content, file_name)
    return caught.value.message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("gadget", "named"),
    [
        ((os.system, "touch {trace}"), "posix.system"),
        ((builtins.eval, "open('{trace}', 'w')"), "eval"),
        ((builtins.exec, "open('{trace}', 'w')"), "exec"),
        ((getattr, Path("{trace}"), "touch"), "getattr"),
        ((io.open, "{trace}", "w"), r"(_io|io)\.open"),
        ((torch.load, "{trace}"), "torch.serialization.load"),
        ((Colour, 1), r"\S+\.Colour"),
    ],
    ids=["os.system", "eval", "exec", "getattr", "open", "torch.load", "a class"],
)
def test_nothing_that_is_not_a_plain_value_is_called(
    tmp_path: Path, gadget: tuple[Any, ...], named: str, *, legacy: bool
) -> None:
    """What a pickle would call is named and not called, however deep it lies beside weights."""
    trace = tmp_path / "trace"
    function, *arguments = (
        part.format(trace=trace) if isinstance(part, str) else part for part in gadget
    )
    args = argparse.Namespace(callback=Calls(function, *arguments))
    content = pickled({"state_dict": state_of(), "args": args}, legacy=legacy)

    with pytest.raises(BadCheckpoint, match=rf"^net\.pth holds code \({named}\), only plain wei"):
        read_checkpoint(content, "net.pth")

    assert not trace.exists()


def test_safe_types_are_safe_for_one_file_alone() -> None:
    """What an import may read, no other reader of torch's files may."""
    content = pickled({"args": argparse.Namespace(lr=0.1)})

    assert read_content(content, "net.pth", SAFE_TYPES)["args"].lr == 0.1
    with pytest.raises(pickle.UnpicklingError, match=r"argparse\.Namespace"):
        torch.load(io.BytesIO(content), weights_only=True)


def test_numpys_objects_are_no_numbers() -> None:
    """Bytes that say they are objects of Python are refused, not unpickled."""

    class Scalar:
        def __reduce__(self) -> tuple[Any, ...]:
            import numpy as np  # noqa: PLC0415 - the function that numpy's scalars name

            return np._core.multiarray.scalar, (np.dtype("O"), pickle.dumps(1))  # type: ignore[attr-defined]

    assert refusal(pickled({"best": Scalar()})) == "net.pth is no checkpoint, or a damaged one"


def test_a_whole_model_is_refused_with_what_to_save() -> None:
    """`torch.save(model)` holds the names of classes; its state dict does not."""
    message = refusal(pickled(nn.Sequential(nn.Linear(2, 2))))

    assert message == (
        "net.pth holds code (torch.nn.modules.container.Sequential), only plain weights are "
        "loaded: whole modules were saved; save its weights alone: "
        "torch.save(model.state_dict(), 'weights.pth')"
    )


def test_a_torchscript_archive_is_refused_by_its_name() -> None:
    """It is code with weights."""
    buffer = io.BytesIO()
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)

    assert refusal(buffer.getvalue()).startswith("net.pth is a TorchScript archive, which is code")


def test_an_onnx_file_is_refused_by_its_name() -> None:
    """Whatever its ending says."""
    graph = onnx.helper.make_graph([], "empty", [], [])
    content = onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString()

    assert refusal(content, "net.pt").startswith("net.pt is an ONNX file; of the network")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: fetch the file"),
        (b"<!DOCTYPE html><html>", "a web page: the download went wrong"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file of Keras"),
        (pickle.dumps({"a": 1}), "no checkpoint of torch.save but a plain pickle"),
        (pickled({"fc.weight": torch.ones(40, 40)})[:4000], "no checkpoint, or a damaged one"),
        (pickled({"w": torch.ones(40, 40)}, legacy=True)[:999], "no checkpoint, or a damaged one"),
        (b"", "no checkpoint, or a damaged one"),
    ],
    ids=["lfs", "html", "keras", "pickle", "cut", "legacy cut", "empty"],
)
def test_what_people_take_for_a_checkpoint_is_told(content: bytes, what: str) -> None:
    """One line says what the file is instead."""
    assert refusal(content).startswith(f"net.pth is {what}")


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({}, "net.pth holds no weights"),
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "net.pth holds no weights"),
        (torch.ones(3), "net.pth holds a Tensor, not a state dict"),
        ([1, 2], "net.pth holds a list, not a state dict"),
        ({"weight": torch.ones(3, 3)}, "net.pth holds no residual network; networks that can be"),
    ],
)
def test_what_holds_no_network_is_refused(held: object, reason: str) -> None:
    """Nothing is made of nothing."""
    assert refusal(pickled(held)).startswith(reason)


def test_quantised_and_sparse_weights_are_refused_by_name() -> None:
    """Only dense floating-point weights are read."""
    state = state_of()
    state["fc.bias"] = torch.ones(3, dtype=torch.int8)
    state["layer1.0.conv1.weight"] = torch.ones(64, 64).to_sparse()

    assert refusal(pickled(state)) == (
        "no floating-point tensors in net.pth: "
        "layer1.0.conv1.weight (sparse_coo on cpu), fc.bias (int8)"
    )


def test_weights_that_are_not_finite_are_refused() -> None:
    """NaN never reaches the store."""
    state = state_of() | {"bn1.bias": torch.full((64,), float("nan"))}
    checkpoint = read_checkpoint(pickled({"model": state}), "net.pth")

    with pytest.raises(BadCheckpoint, match=r"^nan or infinite weights in bn1\.bias$"):
        adopt_checkpoint(checkpoint, None, groups=None, input_px=TINY.input_px)


def test_mappings_that_hold_one_another_are_read_once() -> None:
    """A file that nests without end, or a hundredfold in each level, ends at once."""
    level: dict[str, Any] = {}
    level["self"] = level
    for _ in range(12):
        level = {f"copy {index}": level for index in range(100)}

    assert refusal(pickled(level)) == "net.pth holds no weights"


def peak_of(content: bytes) -> int:
    """How much more memory than before a refused import took at most, in KB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_and_refuse(content)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def read_and_refuse(content: bytes) -> None:
    """Import as far as it goes."""
    with pytest.raises(BadCheckpoint):
        adopt_checkpoint(read_checkpoint(content, "net.pth"), None, groups=None, input_px=32)


@pytest.mark.parametrize(
    "changes",
    [
        {"fc.weight": (2_000_000, 512), "fc.bias": (2_000_000,)},
        {"layer4.0.conv1.weight": (30_000, 30_000)},
        {"neck.weight": (30_000, 30_000)},
        {"fc.weight": (10**9, 512)},
    ],
    ids=["classes", "a shape", "an unknown layer", "beyond any memory"],
)
def test_numbers_that_repeat_are_not_copied_before_their_shapes_fit(
    changes: dict[str, tuple[int, ...]],
) -> None:
    """A file of some KB asks for gigabytes by strides of 0."""
    repeated = {name: torch.ones(1).expand(shape) for name, shape in changes.items()}

    assert peak_of(pickled(state_of() | repeated)) < 200_000


def test_a_packed_file_is_refused_before_it_is_unpacked() -> None:
    """`torch.save` packs nothing, and zeros pack a thousandfold."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(pickled({"w": torch.zeros(4_000_000)}))) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other,
    ):
        for entry in archive.infolist():
            other.writestr(entry.filename, archive.read(entry))

    assert refusal(packed.getvalue()) == (
        "net.pth unpacks to 16 MB out of 0.0 MB, and torch.save packs nothing: unpack it, or save "
        "it again"
    )


def test_memory_that_is_not_there_is_a_refusal() -> None:
    """Not a failure of the service's."""
    with pytest.raises(BadCheckpoint, match=r"^there is no memory for the weights of net\.pth$"):
        as_float32({"w": torch.ones(1).expand(10**15)}, "net.pth")


def test_what_is_no_tensor_among_weights_is_named() -> None:
    """Before anybody asks for its shape."""
    state = state_of() | {"fc.weight": [1, 2], "conv1.weight": "x"}

    assert refusal(pickled(state)) == (
        "no floating-point tensors in net.pth: conv1.weight (str), fc.weight (list)"
    )


def test_a_counter_may_be_anything() -> None:
    """Nothing counts in evaluation."""
    content = pickled(state_of() | {"bn1.num_batches_tracked": 3})

    checkpoint = read_checkpoint(content, "net.pth")

    adopted = adopt_checkpoint(checkpoint, None, groups=None, input_px=TINY.input_px)
    assert adopted.network.bn1.num_batches_tracked == 0
