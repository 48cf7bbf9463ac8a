"""What AOTInductor wrote: one file with a network's programs, loaded in a moment.

A network becomes two programs, its front and its rear (see `FusedResNet`), both for any batch. On a
CPU each may stand beside one for a batch of one, where oneDNN reads weights in another order for
that (see `packing`). Each returns a flat list: what it computes, then `values`, `scale` and `shift`
of every block's raw similarity.

B: batch, K: classes.
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

FRONT, REAR = "front", "rear"
FRONT_OF_ONE, REAR_OF_ONE = "front_of_one", "rear_of_one"
OF_ONE = {FRONT: FRONT_OF_ONE, REAR: REAR_OF_ONE}


@dataclass(frozen=True, slots=True)
class Programs:
    """Both programs of a network, loaded.

    Attributes:
        front: pixels (B, 3, h, w) uint8 -> the maps of stage 1, raw similarity of its blocks.
        rear: the maps of stage 1 -> logits (B, K) float32, raw similarity of the other blocks.
    """

    front: Program
    rear: Program


def load_package(package: BinaryIO, device: torch.device) -> Programs:
    """Load both programs of a package; takes a moment and imports no compiler.

    Args:
        package: a file, at the start of the package; it may be removed once it is loaded.
        device: for which it was built.

    Raises:
        RuntimeError: the file is no package, or one of another torch.
    """
    if device.type == "cpu":
        return Programs(
            _with_program_of_one(package, FRONT, FRONT_OF_ONE),
            _with_program_of_one(package, REAR, REAR_OF_ONE),
        )
    with copied(package) as path:
        # Alone in its thread, a program needs no locks, which would break a capture by CUDA.
        loader = torch._C._aoti.AOTIModelPackageLoader  # noqa: SLF001
        front, rear = (loader(str(path), name, True, 1, -1).boxed_run for name in (FRONT, REAR))
        return Programs(front, rear)


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


def _with_program_of_one(package: BinaryIO, name: str, of_one: str) -> Program:
    program = load_unlocked(package, name)
    has_one = of_one in names_in(package)
    return BySize(load_unlocked(package, of_one), program) if has_one else program


@dataclass(frozen=True, slots=True)
class BySize:
    """A program for any batch, and the same for a batch of one."""

    of_one: Program
    of_any: Program

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run the one that the batch is for."""
        return self.of_one(inputs) if len(inputs[0]) == 1 else self.of_any(inputs)
