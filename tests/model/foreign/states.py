"""The weights of which every form of a checkpoint is made, and what a script puts beside them.

A tensor's values repeat along all but its first axis, so that files are small: torch keeps the
strides of what it saves.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from service.model.resnet import SgeResNet, plain_resnet
from tests.store_fixtures import TINY, random_input, random_network

State = dict[str, Any]


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


def _as(dtype: torch.dtype, state: State) -> State:
    """Only what is rounded by neither: the values are multiples of a power of two."""
    return {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def half(dtype: torch.dtype) -> State:
    """The weights rounded to a half precision."""
    return _as(dtype, state_of())
