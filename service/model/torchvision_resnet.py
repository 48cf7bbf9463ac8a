"""torchvision's residual network and its blocks, imported without torch's compiler.

torchvision.ops imports `torch._dynamo` for one question that RoI align asks when it runs. That
takes as long as the rest of torch does, and a service that loads what was compiled needs no
compiler.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch

COMPILER = "torch._dynamo.utils"


@contextmanager
def compiler_on_demand() -> Iterator[None]:
    """Let what is imported in the block find a stand-in that imports the compiler when called."""
    if COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(COMPILER)
    vars(stand_in)["is_compile_supported"] = _is_compile_supported
    sys.modules[COMPILER] = stand_in
    try:
        yield
    finally:
        del sys.modules[COMPILER]


def _is_compile_supported(device_type: str | torch.device) -> bool:
    from torch._dynamo.utils import is_compile_supported  # noqa: PLC0415

    return bool(is_compile_supported(device_type))


with compiler_on_demand():
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

__all__ = ["BasicBlock", "Bottleneck", "ResNet"]
