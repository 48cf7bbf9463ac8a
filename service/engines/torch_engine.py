"""What engines that run tensors of torch have in common: threads, staging, waiting."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from service.engines.base import EngineDescription, EngineOutputs, Row
from service.engines.device import DTYPES
from service.engines.device_loss import telling_device_loss
from service.engines.gpu_memory import why_too_little
from service.engines.staging import fetch, page_locked
from service.errors import EngineFailed
from service.model.fuse import fuse
from service.model.graph import InferenceGraph
from service.model.resnet import Outputs
from service.store.load import LoadedModel


class TorchEngine(abc.ABC):
    """An engine that takes and returns tensors of one device.

    Args:
        model: the model; its network is copied.
        device: where it runs.
        precision: of its arithmetic, as `EngineDescription` tells it.
        threads: of one forward pass on a CPU; 0 leaves torch's default, every core.
    """

    name: str

    def __init__(
        self, model: LoadedModel, device: torch.device, precision: str, threads: int = 0
    ) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.threads = threads

    @property
    def description(self) -> EngineDescription:
        """Name, precision and device."""
        return EngineDescription(self.name, self.precision, self.device.type)

    @abc.abstractmethod
    def load(self) -> None:
        """Build what `run` needs."""

    @abc.abstractmethod
    def run(self, pixels: Tensor, extras: frozenset[str]) -> Outputs:
        """Run (B, 3, h, w) uint8 that lies on the device.

        Raises:
            RuntimeError: nothing is loaded; or whatever the device raises.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of what `load` built."""

    def warm_up_sizes(self, max_batch: int) -> Sequence[int]:
        """Every size takes the same code: the smallest and the largest."""
        return sorted({1, max_batch})

    def collate(self, rows: Sequence[Row]) -> Tensor:
        """Stack rows to (B, 3, h, w) uint8, page-locked where the device is a GPU."""
        batch = torch.from_numpy(np.stack(rows))
        return page_locked(batch) if self.device.type == "cuda" else batch

    def infer(self, batch: Tensor, extras: frozenset[str]) -> EngineOutputs:
        """Run a collated batch and wait for it; this thread alone waits for the device."""
        self.use_threads()
        with self.on_device(), torch.inference_mode():
            return fetch(self.run(batch.to(self.device, non_blocking=True), extras))

    @functools.cached_property
    def stream(self) -> torch.cuda.Stream | None:
        """The order in which a GPU does what this engine asks for; None on a CPU.

        Engines have one each, so that none waits for another that is being warmed up or recorded,
        and a batch's time is its own. A batch's copies and its pass follow one another: what a copy
        beside the pass of another batch would gain has not been measured.
        """
        if self.device.type == "cpu":
            return None
        return torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def on_device(self) -> Iterator[None]:
        """Have the device do what is asked for inside in this engine's order.

        Raises:
            EngineLost: the device is lost.
        """
        told = functools.partial(telling_device_loss, self.device)
        # Inside, so that it waits for this stream; outside, as entering it may fail already.
        with told(), torch.cuda.stream(self.stream), told():
            yield

    def require_memory(self, needed_bytes: int) -> None:
        """Refuse to be loaded where the device's memory is too little for it.

        Raises:
            EngineFailed: it is; the numbers are told.
            EngineLost: the device is lost.
        """
        with telling_device_loss(self.device):
            reason = why_too_little(needed_bytes, self.device)
        if reason is not None:
            raise EngineFailed(f"the {self.name} engine is not loaded: {reason}")

    def use_threads(self) -> None:
        """Let the calling thread compute with as many threads as the engine may use."""
        if self.threads and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)  # a property of the calling thread

    def weight_bytes(self, precision: str) -> int:
        """What the weights take in a precision."""
        return self.model.weight_bytes * DTYPES[precision].itemsize // torch.float32.itemsize

    def fused_graph(self, precision: str) -> InferenceGraph:
        """The model as every engine runs it: a copy of its network, fused, on the device.

        Args:
            precision: `fp32`, `bf16` or `fp16`.
        """
        contract = self.model.manifest.input
        network = fuse(self.model.network)
        graph = InferenceGraph(network, contract.mean, contract.std, DTYPES[precision])
        return graph.to(self.device)
