"""Which convolutions the kernels take over, as measured here.

Every pair of ways runs by turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
import torch
from torch import Tensor, nn

from service.engines.aoti.kernels.library import Kernels
from service.engines.aoti.kernels.network import ONEDNN, Choice
from service.engines.aoti.kernels.operators import NEVER
from service.engines.aoti.kernels.weights import pack, pack_for_winograd
from service.model.fuse import FusedBlock, FusedResNet

log = structlog.stdlib.get_logger(__name__)

BATCHES = (1, 2, 8)
ROUNDS = 3
EVEN = 1.25
"""By how much oneDNN may be faster at a layer and lose it, where the kernels can take every layer.

It reads weights in another order for one image than for several, so that a network which leaves it
any needs a second program, with all weights again.
"""
WHOLE_LINES = 16  # input channels that a kernel's transforms take at a time

NOTHING = torch.empty(0)

Run = Callable[[], object]

_pointwise = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001
_reorder = torch.ops.mkldnn._reorder_convolution_weight  # noqa: SLF001


class Layer(NamedTuple):
    """A convolution as far as its speed depends on it; `groups` are SGE's, 0 where none follows."""

    outputs: int
    channels: int
    kernel: int
    stride: int
    padding: int
    height: int
    width: int
    groups: int

    @property
    def is_for_winograd(self) -> bool:
        """Whether Winograd's method is written for it."""
        is_3x3 = (self.kernel, self.stride, self.padding) == (3, 1, 1)
        return is_3x3 and self.channels % WHOLE_LINES == 0


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of a layer by oneDNN, directly and by Winograd, for each batch measured.

    Attributes:
        seconds: by batch.
    """

    seconds: Mapping[int, Sequence[float]]

    def choice(self, panel: int, even: float = 1.0) -> Choice:
        """The kernels' faster way, unless oneDNN is faster by over `even`, over all batches."""
        winograd_from = NEVER
        for batch in sorted(self.seconds, reverse=True):
            _, direct, winograd = self.seconds[batch]
            if winograd > direct:
                break
            winograd_from = batch
        gains = [math.log(onednn / min(own)) for onednn, *own in self.seconds.values()]
        slower = math.exp(-sum(gains) / len(gains))
        return ONEDNN if slower > even else Choice(panel, winograd_from)

    def of(self, choice: Choice) -> list[float]:
        """The seconds of a choice, batch by batch."""
        return [
            onednn
            if choice.panel is None
            else winograd
            if batch >= choice.winograd_from
            else direct
            for batch, (onednn, direct, winograd) in self.seconds.items()
        ]


def choose_by_measurement(
    network: FusedResNet, side_px: int, kernels: Kernels
) -> dict[nn.Conv2d, Choice]:
    """Measure every convolution of a network.

    Args:
        network: float32, on the CPU.
        side_px: of its input.
        kernels: compiled for this processor.
    """
    layers = dict(layers_of(network, side_px))
    with torch.inference_mode():
        measured = {
            layer: measure(layer, kernels)
            for layer in set(layers.values())
            if can_take(layer, kernels.panel)
        }
    by_layer = choose(list(layers.values()), measured, kernels.panel)
    chosen = {convolution: by_layer[layer] for convolution, layer in layers.items()}
    log.info(
        "convolutions are measured",
        by_kernels=sum(choice.panel is not None for choice in chosen.values()),
        by_winograd=sum(choice.winograd_from < NEVER for choice in chosen.values()),
        by_onednn=sum(choice.panel is None for choice in chosen.values()),
    )
    return chosen


def choose(
    layers: Sequence[Layer], measured: Mapping[Layer, Measured], panel: int
) -> dict[Layer, Choice]:
    """Choose for each layer of a network; all are oneDNN's if the whole would be slower otherwise.

    Args:
        layers: those of the network, each as often as it is there.
        measured: those that the kernels can take.
        panel: of the kernels.
    """
    even = EVEN if all(layer in measured for layer in layers) else 1.0
    choices = dict.fromkeys(layers, ONEDNN)
    choices |= {layer: found.choice(panel, even) for layer, found in measured.items()}
    taken = [layer for layer in layers if layer in measured]
    gain = 0.0
    for batch in range(len(BATCHES)):
        before, after = (
            sum(measured[layer].of(ways[layer])[batch] for layer in taken)
            for ways in (dict.fromkeys(layers, ONEDNN), choices)
        )
        gain += math.log(before / after) if taken else 0.0
    return choices if gain > 0 else dict.fromkeys(layers, ONEDNN)


def can_take(layer: Layer, panel: int) -> bool:
    """Whether the kernels compute such a layer."""
    gated = layer.groups % panel == 0 and (not layer.groups or layer.channels % WHOLE_LINES == 0)
    return layer.outputs % panel == 0 and gated


def layers_of(network: FusedResNet, side_px: int) -> Iterator[tuple[nn.Conv2d, Layer]]:
    """The convolutions of a network, with the maps that they read."""
    gated = {
        block.last: block.enhance.groups
        for block in network.modules()
        if isinstance(block, FusedBlock) and block.last.kernel_size == (1, 1)
    }
    found: list[tuple[nn.Conv2d, Layer]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not isinstance(module, nn.Conv2d):
            return
        height, width = inputs[0].shape[2:]
        found.append(
            (
                module,
                Layer(
                    *(module.out_channels, module.in_channels),
                    *(module.kernel_size[0], module.stride[0], int(module.padding[0])),
                    *(height, width, gated.get(module, 0)),
                ),
            )
        )

    hooks = [module.register_forward_pre_hook(note) for module in network.modules()]
    with torch.inference_mode():
        network(torch.zeros(1, 3, side_px, side_px).to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
    yield from found


class Numbers(NamedTuple):
    """Weights of no meaning for a layer, in every order; `winograd` is empty where it has none."""

    weight: Tensor
    bias: Tensor
    direct: Tensor
    winograd: Tensor


def measure(layer: Layer, kernels: Kernels) -> Measured:
    """Run a layer in every way that can compute it, with numbers of no meaning."""
    weight = torch.rand(layer.outputs, layer.channels, layer.kernel, layer.kernel)
    numbers = Numbers(
        weight,
        torch.rand(layer.outputs),
        pack(weight, kernels.panel),
        pack_for_winograd(weight, kernels.panel) if layer.is_for_winograd else NOTHING,
    )
    return Measured(
        {
            batch: fastest(ways(layer, numbers, batch, kernels), time.perf_counter)
            for batch in BATCHES
        }
    )


def fastest(ways: Sequence[Run | None], clock: Callable[[], float]) -> list[float]:
    """The least seconds of each way, of some rounds by turns; infinite for None."""
    least = [math.inf] * len(ways)
    for _, (index, run) in itertools.product(range(ROUNDS), enumerate(ways)):
        if run is not None:
            began = clock()
            run()
            least[index] = min(least[index], clock() - began)
    return least


def ways(layer: Layer, numbers: Numbers, batch: int, kernels: Kernels) -> list[Run | None]:
    """A layer by oneDNN, directly and by Winograd; each with all that SGE needs of it.

    oneDNN's result is read once more to be compared with its mean, and once to be enhanced; for the
    loops that do so, which the compiler makes, stand two operations on as much memory.
    """
    maps = torch.rand(batch, layer.height, layer.width, layer.channels)
    by_onednn = _by_onednn(layer, numbers, maps)
    branch = by_onednn()
    shortcut = torch.rand(branch.shape) if layer.groups else None
    gates = torch.rand(*branch.shape[:3], layer.groups) if layer.groups else None
    shape = (layer.kernel, layer.stride, layer.padding)

    def by_onednn_enhanced() -> None:
        enhanced = by_onednn()
        enhanced.sum()
        torch.add(enhanced, branch)

    def directly() -> None:
        if layer.groups:
            kernels.compare(maps, numbers.direct, numbers.bias, layer.groups)
        weights = (numbers.direct, NOTHING, numbers.bias)
        kernels.convolve(maps, *weights, *shape, NEVER, 1, gates=gates, shortcut=shortcut)

    def by_winograd() -> None:
        kernels.convolve(maps, NOTHING, numbers.winograd, numbers.bias, *shape, 1, 1)

    return [
        by_onednn_enhanced if layer.groups else by_onednn,
        directly,
        by_winograd if layer.is_for_winograd else None,
    ]


def _by_onednn(layer: Layer, numbers: Numbers, maps: Tensor) -> Callable[[], Tensor]:
    """A layer's convolution (B, h, w, K), with the ReLU where no SGE comes between."""
    pairs = ([layer.padding] * 2, [layer.stride] * 2, [1, 1])
    pixels = maps.permute(0, 3, 1, 2)
    packed = _reorder(numbers.weight, *pairs, 1, list(pixels.shape))
    after = "none" if layer.groups else "relu"

    def run() -> Tensor:
        result: Tensor = _pointwise(pixels, packed, numbers.bias, *pairs, 1, after, [], "")
        return result.permute(0, 2, 3, 1)

    return run
