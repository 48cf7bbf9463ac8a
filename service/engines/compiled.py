"""The compiled engine: the graph through torch.compile, with its weights frozen into it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from torch._dynamo import mark_dynamic
from torch._inductor import config as inductor_config

from service.engines.eager import EagerEngine
from service.model.resnet import Outputs

CompiledGraph = Callable[[Tensor], Outputs]


class CompiledEngine(EagerEngine):
    """Runs one of two compiled graphs, by which blocks a batch asks for.

    One graph returns the similarity of the last block, which is small enough to come along with
    every batch; the other that of every block. Each exists for a single image and for any
    larger batch.

    A C++ compiler is needed on a CPU; without one `load` succeeds and the first `infer`, which
    compiles, raises.
    """

    name = "compiled"

    def load(self) -> None:
        """Prepare the graphs; they are compiled when `warm_up` runs each of them first."""
        super().load()
        names = [block.name for block in self.bundle.manifest.spec.blocks()]
        self.last_block = frozenset(names[-1:])
        self.with_last = self._compile(self.last_block)
        self.with_all = self._compile(frozenset(names))

    def _compile(self, asked: Collection[str]) -> CompiledGraph:
        run = functools.partial(super().run, asked=frozenset(asked))
        compiled: CompiledGraph = torch.compile(  # type: ignore[call-overload]  # stubs lag behind
            run,
            fullgraph=True,
            isolate_recompiles=True,  # otherwise all engines share one limit of recompilations
        )
        return compiled

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """One image has a graph of its own; two compile that of every larger batch."""
        return sorted({1, min(2, max_batch), max_batch})

    def run(self, pixels: Tensor, asked: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device."""
        if len(pixels) > 1:
            mark_dynamic(pixels, 0)
        compiled = self.with_last if asked <= self.last_block else self.with_all
        # Dynamo asks for this while it traces, so it must hold during the call that compiles.
        with inductor_config.patch(freezing=True):
            return compiled(pixels)

    def close(self) -> None:
        """Let go of the weights and of the compiled graphs."""
        super().close()
        del self.with_last, self.with_all
