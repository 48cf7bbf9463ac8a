"""Checkpoints as training scripts and libraries write them, each made of the same weights."""

from __future__ import annotations

import collections
import functools
import pathlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from tests.model.foreign.states import State, arguments, optimiser, renamed, under, worse
from tests.store_fixtures import pickled


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write a checkpoint: the file's name, and its bytes by the weights."""

    file_name: str
    write: Callable[[State], bytes]
    is_plain: bool = False


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
    "children in a Sequential": Form(
        "net.pth", _of(lambda s: {"state_dict": _numbered(s)}), is_plain=True
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


def _numbered(state: State) -> State:
    """Of `nn.Sequential(*list(resnet.children())[:-1])` and a last layer of one's own."""
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    names = {name: name.partition(".") for name in state}
    return {
        f"classifier.{rest}" if first == "fc" else f"features.{numbers[first]}.{rest}": state[name]
        for name, (first, _, rest) in names.items()
    }


def _beside(state: State, trunk: str, head: str) -> State:
    return {f"{head}{n[3:]}" if n.startswith("fc.") else f"{trunk}{n}": v for n, v in state.items()}
