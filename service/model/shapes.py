"""A network without its weights: every shape, no memory, no random numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from service.model.resnet import ResNetSpec, SgeResNet


def shapes_alone(spec: ResNetSpec) -> SgeResNet:
    """Make a network on the meta device, whose weights are yet to come.

    torch would draw random numbers even there, and import its compiler to do so, which takes as
    long as all the rest of a start.
    """
    with torch.device("meta"), _WithoutRandomNumbers():
        return SgeResNet(spec)


class _WithoutRandomNumbers(TorchFunctionMode):
    """Leaves tensors as they are where torch would initialise them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func is Tensor.normal_:  # of `kaiming_normal_`, which is not asked itself
            return args[0]
        return func(*args, **kwargs)
