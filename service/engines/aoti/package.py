"""What AOTInductor wrote: one file with a network's program, loaded in a moment.

The program takes any batch. On a CPU it may stand beside one for a batch of one, where oneDNN reads
weights in another order for that (see `packing`). It takes pixels (B, 3, h, w) uint8 and returns a
flat list: logits (B, K) float32, features (B, h, w, C), then `values`, `scale` and `shift` of each
raw similarity.

B: batch, K: classes, C: channels of the last block, interleaved by group.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from service.engines.aoti.unlocked import load_unlocked, names_in

Program = Callable[[list[Tensor]], list[Tensor]]
"""Takes its one input in a list, which it empties."""

NETWORK, NETWORK_OF_ONE = "network", "network_of_one"


def load_package(package: BinaryIO, device: torch.device) -> Program:
    """Load the program of a package; takes a moment and imports no compiler.

    Args:
        package: a file, at the start of the package; it may be removed once it is loaded.
        device: for which it was built.

    Raises:
        RuntimeError: the file is no package, or one of another torch.
    """
    if device.type == "cpu":
        program = load_unlocked(package, NETWORK)
        if NETWORK_OF_ONE not in names_in(package):
            return program
        return BySize(load_unlocked(package, NETWORK_OF_ONE), program)
    with copied(package) as path:
        # Alone in its thread, a program needs no locks, which would break a capture by CUDA.
        loader = torch._C._aoti.AOTIModelPackageLoader  # noqa: SLF001
        run: Program = loader(str(path), NETWORK, True, 1, -1).boxed_run
        torch.accelerator.synchronize(device)  # its weights do not come by the engine's stream
        return run


@contextlib.contextmanager
def copied(package: BinaryIO) -> Iterator[Path]:
    """Give torch's own loader, which takes a path, a file of the package and nothing else.

    Args:
        package: a file, at the start of the package.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "programs.pt2"
        with path.open("wb") as copy:
            shutil.copyfileobj(package, copy)
        yield path


@dataclass(frozen=True, slots=True)
class BySize:
    """A program for any batch, and the same for a batch of one."""

    of_one: Program
    of_any: Program

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run the one that the batch is for."""
        return self.of_one(inputs) if len(inputs[0]) == 1 else self.of_any(inputs)
