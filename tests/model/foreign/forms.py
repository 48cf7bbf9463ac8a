"""Checkpoints as training scripts and libraries write them, each made of the same weights.

A tensor's values repeat along all but its first axis, so that files are small: torch keeps the
strides of what it saves.
"""

from __future__ import annotations

import argparse
import collections
import functools
import pathlib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from service.model.resnet import SgeResNet, plain_resnet
from tests.store_fixtures import TINY, pickled, random_input, random_network

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write a checkpoint: the file's name, and its bytes by the weights."""

    file_name: str
    write: Callable[[State], bytes]
    is_plain: bool = False


def light(state: Mapping[str, Tensor]) -> State:
    """Weights whose values repeat along all but the first axis."""
    return {
        name: value if value.ndim < 2 or ".sge." in name else _first_of(value).expand(value.shape)
        for name, value in state.items()
    }


def _first_of(value: Tensor) -> Tensor:
    return value[(slice(None), *(slice(0, 1) for _ in value.shape[1:]))].clone()


@functools.cache
def _source(*, is_plain: bool) -> Any:
    network: Any = random_network(plain_resnet if is_plain else SgeResNet, TINY)
    state = light(network.state_dict())
    network.load_state_dict({n: _smaller(v) if v.ndim > 1 else v for n, v in state.items()})
    return network


def _smaller(value: Tensor) -> Tensor:
    """Keeps the size of activations although weights repeat."""
    scaled: Tensor = value / value[0].numel() ** 0.5
    return scaled


def state_of(*, is_plain: bool = False) -> State:
    """The weights that every form is made of: a dict of its own."""
    return light(_source(is_plain=is_plain).state_dict())


@functools.cache
def logits_of(*, is_plain: bool = False) -> Tensor:
    """What the network of these weights answers to `random_input`."""
    outputs = _source(is_plain=is_plain)(random_input(TINY.input_px))
    logits: Tensor = outputs if is_plain else outputs.logits
    return logits


def under(prefix: str, state: State) -> State:
    """The weights with a prefix."""
    return {f"{prefix}{name}": value for name, value in state.items()}


def worse(state: State) -> State:
    """Weights of the same names that answer something else."""
    return state | {"fc.bias": state["fc.bias"] - 5, "bn1.weight": state["bn1.weight"] * 2}


def renamed(state: State, **names: str) -> State:
    """Weights with the last layer's module under another name."""
    return {name.replace("fc.", names["fc"], 1): value for name, value in state.items()}


def optimiser() -> State:
    """What SGD keeps."""
    momentum = {index: {"momentum_buffer": torch.ones(2)} for index in range(3)}
    groups = [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1, 2]}]
    return {"state": momentum, "param_groups": groups}


def arguments() -> argparse.Namespace:
    """A parsed command line."""
    return argparse.Namespace(lr=0.1, data=pathlib.Path("data"), tags=["a"], resume=None)


def _scalars(state: State) -> State:
    return {
        "state_dict": state,
        "best_acc": np.float64(76.1),
        "epoch": np.int64(90),
        "history": np.linspace(0, 1, 5),
        "rng": np.random.RandomState(1).get_state(),
    }


def _collections(state: State) -> State:
    history: Any = collections.defaultdict(list)
    history["loss"].append(1.0)
    return {
        "net": collections.OrderedDict(state),
        "history": history,
        "last": collections.deque([1, 2], maxlen=3),
        "seen": collections.Counter("aab"),
        "options": types.SimpleNamespace(width=64),
        "torch": torch.__version__,
        "folder": pathlib.PurePosixPath("/data"),
    }


def _lightning(state: State) -> State:
    return {
        "epoch": 9,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": under("model.", state) | {"criterion.weight": torch.ones(3)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best": torch.tensor(0.5)}},
        "optimizer_states": [optimiser()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "out": pathlib.Path("out")},
    }


def _timm(state: State) -> State:
    return {
        "epoch": 300,
        "arch": "resnet18",
        "state_dict": worse(state),
        "state_dict_ema": state,
        "optimizer": optimiser(),
        "version": 2,
        "args": arguments(),
        "amp_scaler": {"scale": 65536.0},
        "metric": 80.1,
    }


def _transformers(state: State) -> State:
    """The names of ResNetForImageClassification."""
    names = {}
    for name, value in state.items():
        stage, *rest = name.split(".")
        match (stage, rest):
            case ("conv1", _):
                new = f"resnet.embedder.embedder.convolution.{rest[-1]}"
            case ("bn1", _):
                new = f"resnet.embedder.embedder.normalization.{rest[-1]}"
            case ("fc", _):
                new = f"classifier.1.{rest[-1]}"
            case (_, [block, "downsample", which, last]):
                part = ("convolution", "normalization")[int(which)]
                new = f"{_stage(stage)}.{block}.shortcut.{part}.{last}"
            case (_, [block, layer, last]):
                part = "convolution" if layer.startswith("conv") else "normalization"
                new = f"{_stage(stage)}.{block}.layer.{int(layer[-1]) - 1}.{part}.{last}"
            case _:
                raise AssertionError(name)
        names[new] = value
    return names


def _stage(layer: str) -> str:
    return f"resnet.encoder.stages.{int(layer[-1]) - 1}.layers"


def _as(dtype: torch.dtype, state: State) -> State:
    """Only what is rounded by neither: the values are multiples of a power of two."""
    return {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}


def _of(wrap: Callable[[State], object], *, legacy: bool = False) -> Callable[[State], bytes]:
    return lambda state: pickled(wrap(state), legacy=legacy)


def _averaged(state: State) -> State:
    return {"n_averaged": torch.tensor(7)} | under("module.", state)


FORMS = {
    "a state dict": Form("net.pth", _of(dict)),
    "an upper-case ending": Form("NET.PT", _of(dict)),
    "torchvision": Form("resnet18.pth", _of(collections.OrderedDict), is_plain=True),
    "torchvision before torch 1.6": Form("net.pth", _of(dict, legacy=True), is_plain=True),
    "safetensors": Form(
        "model.safetensors",
        lambda state: safetensors.torch.save({n: v.contiguous() for n, v in state.items()}),
    ),
    "SGE's authors": Form(
        "sge.pth.tar",
        _of(lambda s: {"epoch": 1, "state_dict": under("module.", s)}, legacy=True),
    ),
    "model": Form("last.pt", _of(lambda s: {"model": s, "optimizer": optimiser(), "epoch": 3})),
    "model_state_dict": Form(
        "ckpt.pt",
        _of(lambda s: {"model_state_dict": s, "optimizer_state_dict": optimiser(), "loss": 0.1}),
    ),
    "net and collections": Form("net.pt", _of(_collections)),
    "transformers": Form("pytorch_model.bin", _of(_transformers), is_plain=True),
    "data parallel": Form("ddp.pth", _of(functools.partial(under, "module."))),
    "compiled": Form("net.pth", _of(functools.partial(under, "_orig_mod."))),
    "compiled in data parallel": Form(
        "net.pth", _of(functools.partial(under, "module._orig_mod."))
    ),
    "data parallel in compiled, wrapped": Form(
        "net.pth", _of(lambda s: {"model": under("_orig_mod.module.", s), "args": arguments()})
    ),
    "wrapped four times": Form(
        "net.pth", _of(lambda s: {"checkpoint": {"state": {"net": under("module.model.", s)}}})
    ),
    "Lightning": Form("epoch=9.ckpt", _of(_lightning)),
    "Lightning's backbone and head": Form(
        "last.ckpt", _of(lambda s: {"state_dict": under("net.", renamed(s, fc="head."))})
    ),
    "backbone beside head.fc": Form(
        "best.pth",
        _of(
            lambda s: {
                "meta": {"CLASSES": "abc"},
                "state_dict": _beside(s, "backbone.", "head.fc."),
            }
        ),
    ),
    "encoder beside classifier": Form(
        "net.pth", _of(lambda s: _beside(s, "encoder.", "classifier."))
    ),
    "a last layer in a Sequential": Form("net.pth", _of(lambda s: renamed(s, fc="fc.1."))),
    "timm with averaged weights": Form("model_best.pth.tar", _of(_timm)),
    "torch's averaged model": Form("swa.pth", _of(_averaged)),
    "torch's averaged model beside the model": Form(
        "net.pth", _of(lambda s: {"model": worse(s), "model_ema": _averaged(s)})
    ),
    "averaged weights with their decay": Form(
        "net.pth", _of(lambda s: {"model": worse(s), "ema": {"module": s, "decay": 0.99}})
    ),
    "an averaged model that was never updated": Form(
        "net.pth",
        _of(
            lambda s: {
                "model": s,
                "swa_model": _averaged(worse(s)) | {"n_averaged": torch.tensor(0)},
            }
        ),
    ),
    "averages of parameters alone": Form(
        "net.pth",
        _of(
            lambda s: {"model": s, "ema": {n: v for n, v in worse(s).items() if "running" not in n}}
        ),
    ),
    "Lightning with averaged weights": Form(
        "last.ckpt",
        _of(lambda s: {"state_dict": under("model.", worse(s)) | under("ema_model.module.", s)}),
    ),
    "numpy's numbers": Form("net.pth", _of(_scalars)),
    "parameters": Form(
        "net.pth",
        _of(lambda s: {n: nn.Parameter(v) if n.startswith("fc") else v for n, v in s.items()}),
    ),
    "an auxiliary head": Form(
        "net.pth", _of(lambda s: s | {"aux_head.weight": torch.ones(9, 256)})
    ),
    "no counters": Form("net.pth", _of(lambda s: {n: v for n, v in s.items() if "num_b" not in n})),
    "training state beside the weights": Form(
        "net.pth",
        _of(lambda s: s | {"epoch": 3, "optimizer": optimiser(), "best": torch.tensor(0.7)}),
    ),
}


def _beside(state: State, trunk: str, head: str) -> State:
    return {f"{head}{n[3:]}" if n.startswith("fc.") else f"{trunk}{n}": v for n, v in state.items()}


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def half(dtype: torch.dtype) -> State:
    """The weights rounded to a half precision."""
    return _as(dtype, state_of())
