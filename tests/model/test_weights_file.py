"""Files of weights: what is read, and what is refused without being run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from service.errors import BadCheckpoint
from service.model.weights_file import decode_weights
from tests.store_fixtures import RunsCommand, pickled


@pytest.mark.parametrize("file_name", ["net.pth", "net.pt", "net.pth.tar"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_torch_is_read_whatever_its_age(file_name: str, *, legacy: bool) -> None:
    """Files of `torch.save` load in today's format and in that of the authors' day."""
    content = pickled({"fc.weight": torch.eye(3)}, legacy=legacy)

    weights = decode_weights(content, file_name)

    torch.testing.assert_close(weights, {"fc.weight": torch.eye(3)})


def test_a_safetensors_file_is_read() -> None:
    """A `.safetensors` file gives its tensors."""
    content = safetensors.torch.save({"fc.weight": torch.eye(3)})

    weights = decode_weights(content, "net.safetensors")

    torch.testing.assert_close(weights, {"fc.weight": torch.eye(3)})


def test_names_are_taken_as_they_are() -> None:
    """No wrapping or prefix is taken off: what others write is for `foreign` to read."""
    content = pickled({"module.fc.bias": torch.ones(3)})
    wrapped = pickled({"state_dict": {"fc.bias": torch.ones(3)}})

    assert list(decode_weights(content, "net.pth")) == ["module.fc.bias"]
    with pytest.raises(
        BadCheckpoint, match=r"no floating-point tensors in .*: state_dict \(dict\)"
    ):
        decode_weights(wrapped, "net.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_becomes_float32(dtype: torch.dtype) -> None:
    """Half and double precision checkpoints are computed in single precision."""
    content = pickled({"fc.bias": torch.tensor([0.5, -2.0], dtype=dtype)})

    weights = decode_weights(content, "net.pth")

    torch.testing.assert_close(weights, {"fc.bias": torch.tensor([0.5, -2.0])})


def test_memory_is_laid_out_afresh() -> None:
    """Strides in the file, channels last or repeated values, do not reach the network."""
    tensors = {
        "conv1.weight": torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "bn1.weight": torch.ones(1).expand(4),
    }

    weights = decode_weights(pickled(tensors), "net.pth")

    assert [value.is_contiguous() for value in weights.values()] == [True, True]
    assert weights["bn1.weight"].stride() == (1,)


@pytest.mark.parametrize(
    "protocol", ["torch", "torch before 1.6", "pickle", "latest pickle", "in a state dict"]
)
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, protocol: str) -> None:
    """A file that would run a command when unpickled is refused, the command named, nothing run."""
    trace = tmp_path / "trace"
    trap = {"fc.weight": RunsCommand(f"touch {trace}")}
    content = {
        "torch": lambda: pickled(trap),
        "torch before 1.6": lambda: pickled(trap, legacy=True),
        "pickle": lambda: pickle.dumps(trap, protocol=2),
        "latest pickle": lambda: pickle.dumps(trap),
        "in a state dict": lambda: pickled({"state_dict": trap}),
    }[protocol]()

    with pytest.raises(BadCheckpoint, match=r"^net\.pth (holds code \(\w+\.system\)|is no check)"):
        decode_weights(content, "net.pth")

    assert not trace.exists()


def test_a_pickled_module_is_refused() -> None:
    """A whole pickled network needs its classes' code, so it is refused with their name."""
    with pytest.raises(BadCheckpoint, match=r"holds code \(torch\.nn\.modules\.linear\.Linear\)"):
        decode_weights(pickled(nn.Linear(2, 2)), "net.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, world\n",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"PK\x03\x04" + bytes(64),
        b"\x80\x02" + bytes(64),
        pickled({"fc.weight": torch.ones(40, 40)})[:4000],
        pickled({"fc.weight": torch.ones(40, 40)}, legacy=True)[:4000],
        safetensors.torch.save({"fc.weight": torch.ones(40, 40)})[:4000],
    ],
    ids=["empty", "text", "png", "zip", "zeros", "cut", "legacy cut", "safetensors cut"],
)
@pytest.mark.parametrize("file_name", ["net.pth", "net.pth.tar", "net.safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(
    content: bytes, file_name: str
) -> None:
    """Foreign and damaged files give one line that names the file."""
    with pytest.raises(BadCheckpoint) as caught:
        decode_weights(content, file_name)

    assert caught.value.message == f"{file_name} is no checkpoint, or a damaged one"


def test_an_unknown_ending_is_refused() -> None:
    """Only the endings of torch and safetensors are read."""
    with pytest.raises(BadCheckpoint, match=r"net\.onnx .* must end in \.pth, \.pt, \.pth\.tar"):
        decode_weights(pickled({}), "net.onnx")


def test_a_file_without_a_state_dict_is_refused() -> None:
    """A bare tensor is no network."""
    with pytest.raises(BadCheckpoint, match="holds a Tensor, not a state dict"):
        decode_weights(pickled(torch.ones(3)), "net.pth")


def test_entries_that_are_no_floating_point_tensors_are_all_named() -> None:
    """Training state beside the weights and quantised weights are refused by name."""
    state = {
        "epoch": 3,
        "fc.weight": torch.ones(2, dtype=torch.int8),
        "fc.bias": torch.eye(2).to_sparse(),
        "bn1.weight": torch.ones(2),
    }

    with pytest.raises(BadCheckpoint) as caught:
        decode_weights(pickled(state), "net.pth")

    assert caught.value.message == (
        "no floating-point tensors in net.pth: "
        "epoch (int), fc.weight (int8), fc.bias (sparse_coo on cpu)"
    )
