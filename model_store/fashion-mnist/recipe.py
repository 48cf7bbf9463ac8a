"""Train the model that ships: SGE-ResNet-18 on Fashion-MNIST, on a CPU, from one command.

    python model_store/fashion-mnist/recipe.py

trains the network, then the same one without SGE, measures both and writes the next version of
the model. It is seeded, and resumes where it was interrupted: each batch follows from the seed
and its number alone. `--skip-plain` leaves the second network out, `--measure-url URL` trains
nothing and posts the 20,000 test pictures to a running service instead.

B: batch, r: side of a training frame in pixels.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from garments import LABELS, Frames, Split, augment, read_split
from measure import measure, measure_over_http
from publish import publish, round_to_half
from torch import Tensor, nn
from torchvision.models.resnet import ResNet
from tqdm import tqdm

from service.manifest import InputContract
from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet
from service.model.sge import SpatialGroupEnhance

CONTRACT = InputContract(size_px=56, fit="fit", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
SPEC = ResNetSpec(
    architecture="sge_resnet18",
    classes=len(LABELS),
    groups=8,
    initial_bias=1.0,
    input_px=CONTRACT.size_px,
    stem="small",
)
VALIDATION_IMAGES = 2000  # the last of the training images, never trained on
BATCH = 128
WARM_UP = 0.08  # share of a cycle
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.05
VALIDATE_EVERY = 450  # steps
SAVE_EVERY_S = 120


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run on frames of one kind."""

    frames: Frames
    epochs: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """A stretch over which the learning rate warms up and falls to zero once."""

    peak_learning_rate: float
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one step trains on, and how fast."""

    frames: Frames
    learning_rate: float


# Low resolution first: a 28 px frame holds every detail of the data at a quarter of the cost.
# Garments of twice the size then need a cycle of their own.
CYCLES = (
    Cycle(
        0.1,
        (
            Phase(Frames(28, smallest=0.7), 8.0),
            Phase(Frames(40, smallest=0.5), 0.7),
            Phase(Frames(56, smallest=0.4), 0.6),
        ),
    ),
    Cycle(0.05, (Phase(Frames(56, smallest=0.4), 2.2),)),
)


class GemmWeightGradient(torch.autograd.Function):
    """A 3x3 convolution of padding 1 whose weight gradient is nine matrix products.

    On maps of 2x2 positions oneDNN's own weight gradient runs at a quarter of the speed of a
    matrix product (30 against 128 GFLOP/s on two AVX2 cores), which cost a fifth of the run.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve with stride 1."""
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of input and weight."""
        x, weight = ctx.saved_tensors
        x_gradient = F.conv2d(gradient, weight.flip(2, 3).transpose(0, 1), padding=1)
        height, width = x.shape[2:]
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2).t()  # (out, B*H*W)
        taps = [
            rows @ padded[:, top : top + height, left : left + width].flatten(0, 2)
            for top in range(3)
            for left in range(3)
        ]
        return x_gradient, torch.stack(taps, dim=2).view(*weight.shape)


def _convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    out: Tensor = GemmWeightGradient.apply(x, convolution.weight)
    return out


def hasten(network: nn.Module) -> None:
    """Compile SGE, and let the last stage's 3x3 convolutions use `GemmWeightGradient`."""
    for module in network.modules():
        if isinstance(module, SpatialGroupEnhance):
            module.compile()
    for module in network.get_submodule("layer4").modules():
        if isinstance(module, nn.Conv2d) and module.padding == (1, 1) and module.stride == (1, 1):
            module.forward = functools.partial(_convolve, module)  # type: ignore[method-assign]


def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Run either network on (B, 3, r, r) in [0, 1] and return (B, 10)."""
    outputs = network((pixels - CONTRACT.mean[0]) / CONTRACT.std[0])
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs.logits
    return logits


def learning_rate(progress: float) -> float:
    """Warm up, then fall in a straight line: `progress` from 0 to 1 -> 0 to 1 to 0."""
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def optimizer_of(network: nn.Module) -> torch.optim.SGD:
    """SGD with momentum; weights decay, but not biases, BatchNorm and SGE."""
    decayed = [p for p in network.parameters() if p.ndim > 1 and p.shape[0] > 1]
    others = [p for p in network.parameters() if not (p.ndim > 1 and p.shape[0] > 1)]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)


def schedule(images: int) -> list[Step]:
    """Every step of the run."""
    steps = []
    for cycle in CYCLES:
        frames = [
            phase.frames
            for phase in cycle.phases
            for _ in range(math.ceil(phase.epochs * images / BATCH))
        ]
        steps += [
            Step(each, cycle.peak_learning_rate * learning_rate(number / len(frames)))
            for number, each in enumerate(frames)
        ]
    return steps


def batch_indices(images: int, step: int, seed: int) -> Tensor:
    """The images of a step: an epoch is one seeded shuffle, its last short batch dropped."""
    epoch, position = divmod(step, images // BATCH)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed * 1000 + epoch))
    return order[position * BATCH : (position + 1) * BATCH]


@torch.no_grad()
def validate(network: nn.Module, split: Split, frames: Frames) -> dict[str, float]:
    """Accuracy on held-out training images: as they are, and as posted."""
    network.eval()
    right = dict.fromkeys(("as_is", "posted"), 0)
    for start in range(0, len(split.labels), 250):
        images, labels = split.images[start : start + 250], split.labels[start : start + 250]
        grey = images.unsqueeze(1).float() / 255
        every = torch.ones(len(images), dtype=torch.bool)
        generator = torch.Generator().manual_seed(start)
        pixels = {
            "as_is": F.interpolate(grey, frames.side_px, mode="bilinear").expand(-1, 3, -1, -1),
            "posted": augment(images, every, frames, generator),
        }
        for kind, batch in pixels.items():
            right[kind] += int((logits_of(network, batch).argmax(1) == labels).sum())
    network.train()
    return {kind: count / len(split.labels) for kind, count in right.items()}


class Run:
    """A training run: what it changes, and where that is kept between interruptions."""

    def __init__(self, network: ResNet, checkpoint: Path) -> None:
        network.to(memory_format=torch.channels_last).train()
        self.network = network
        self.optimizer = optimizer_of(network)
        self.checkpoint = checkpoint
        self.parts: dict[str, Any] = {
            "network": network,
            "optimizer": self.optimizer,
        }
        self.saved_at = time.monotonic()
        hasten(network)

    def resume(self) -> int:
        """Take up the last checkpoint; return how many steps are done."""
        if not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return int(state["done"])

    def save(self, done: int) -> None:
        """Keep everything; an interruption meanwhile leaves the previous checkpoint."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({**state, "done": done}, partial)
        partial.replace(self.checkpoint)
        self.saved_at = time.monotonic()

    def step(self, split: Split, number: int, step: Step, seed: int) -> float:
        """Train on one batch; every second image is posted. Returns the loss."""
        chosen = batch_indices(len(split.labels), number, seed)
        posted = torch.arange(BATCH) % 2 == 1
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        pixels = augment(split.images[chosen], posted, step.frames, generator)
        loss = F.cross_entropy(
            logits_of(self.network, pixels), split.labels[chosen], label_smoothing=LABEL_SMOOTHING
        )
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} at step {number}")
        for group in self.optimizer.param_groups:
            group["lr"] = step.learning_rate
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()


def train(network: ResNet, name: str, seed: int, work_dir: Path) -> ResNet:
    """Train to the end of the schedule, from the last checkpoint where there is one.

    Returns:
        The network, in evaluation mode.
    """
    data = read_split("train")
    split = Split(data.images[:-VALIDATION_IMAGES], data.labels[:-VALIDATION_IMAGES])
    held_out = Split(data.images[-VALIDATION_IMAGES:], data.labels[-VALIDATION_IMAGES:])
    run = Run(network, work_dir / f"{name}.pt")
    steps = schedule(len(split.labels))
    done = run.resume()
    progress = tqdm(range(done, len(steps)), name, initial=done, total=len(steps), mininterval=5)
    for number in progress:
        frames = steps[number].frames
        loss = run.step(split, number, steps[number], seed)
        progress.set_postfix(px=frames.side_px, loss=f"{loss:.3f}", refresh=False)
        is_last = number + 1 == len(steps)
        if (number + 1) % VALIDATE_EVERY == 0 or is_last:
            record = {"step": number + 1, **validate(network, held_out, frames)}
            with (work_dir / f"{name}.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
        if time.monotonic() - run.saved_at > SAVE_EVERY_S or is_last:
            run.save(number + 1)
    return network.eval()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work-dir", type=Path, default=Path("build/fashion-mnist"))
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--skip-plain", action="store_true")
    parser.add_argument("--measure-url", metavar="URL")
    arguments = parser.parse_args()
    if arguments.measure_url:
        print(json.dumps(measure_over_http(arguments.measure_url), indent=2))
        return
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    metrics = {}
    builders: dict[str, Callable[[ResNetSpec], ResNet]] = {"sge": SgeResNet}
    if not arguments.skip_plain:
        builders["plain"] = plain_resnet
    for name, build in builders.items():
        torch.manual_seed(arguments.seed)
        network = train(build(SPEC), name, arguments.seed, arguments.work_dir)
        round_to_half(network)
        metrics[name] = measure(network, CONTRACT)
        if isinstance(network, SgeResNet):
            shipped = network
    print(f"wrote {publish(shipped, CONTRACT, metrics, arguments.model_store)}")


if __name__ == "__main__":
    main()
