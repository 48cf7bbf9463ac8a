"""Train the model that ships: SGE-ResNet-18 on Fashion-MNIST, on a CPU, from one command.

    python model_store/fashion-mnist/recipe.py            train both networks, measure, publish
    python model_store/fashion-mnist/recipe.py --plain    only the network without SGE

The run is seeded and resumes where it was interrupted: every batch follows from the seed and its
number alone. Progress lies in `--work-dir`. B: batch, r: side of the training frame in pixels.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet
from service.model.sge import SpatialGroupEnhance

DATASET = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
SPEC = ResNetSpec(
    architecture="sge_resnet18", classes=10, groups=8, initial_bias=1.0, input_px=56, stem="small"
)
MEAN, STD = 0.5, 0.25
VALIDATION_IMAGES = 2000  # the last of the training images, never trained on
BATCH = 128
PEAK_LEARNING_RATE = 0.1
WARM_UP = 0.08  # share of the run
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.05
AVERAGE_DECAY = 0.998
SAVE_EVERY_S = 120


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run: frames of `side_px`, garments of `smallest` to 1 of the frame."""

    side_px: int
    epochs: float
    smallest: float


# Low resolution first: a 28 px frame holds every detail of the data at a quarter of the cost.
PHASES = (Phase(28, 8.0, 0.7), Phase(40, 0.7, 0.5), Phase(56, 0.6, 0.4))


@dataclass(frozen=True, slots=True)
class Split:
    """Images (N, 28, 28) uint8, garment light on black, and labels (N,) int64."""

    images: Tensor
    labels: Tensor


def read_split(name: str) -> Split:
    """Read `train` or `t10k` from the IDX files."""
    with gzip.open(DATASET / f"{name}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(DATASET / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def uniform(batch: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw (B,) numbers from [low, high)."""
    return torch.rand(batch, generator=generator) * (high - low) + low


def augment(images: Tensor, phase: Phase, generator: torch.Generator) -> Tensor:
    """Place garments in frames: half nearly as they are, half as people might post them.

    Args:
        images: (B, 28, 28) uint8.
        phase: the frame's side and how small a garment may get.
        generator: the source of every random number.

    Returns:
        (B, 3, r, r) float32 in [0, 1], RGB, channels last.
    """
    batch = len(images)
    posted = torch.arange(batch) % 2 == 1  # the other half stays close to the data set
    values = images.unsqueeze(1).float() / 255  # (B, 1, 28, 28)
    frames = place(values, posted, phase, generator)  # (B, 1, r, r)
    return tone(frames, posted, generator).contiguous(memory_format=torch.channels_last)


def place(values: Tensor, posted: Tensor, phase: Phase, generator: torch.Generator) -> Tensor:
    """Scale, turn, flip and move each garment within its frame: (B, 1, r, r)."""
    batch = len(values)
    largest = 1.1 if phase.smallest > 0.6 else 1.0
    scale = torch.where(
        posted,
        uniform(batch, phase.smallest, largest, generator),
        uniform(batch, 0.93, 1.07, generator),
    )
    stretch = torch.where(posted, uniform(batch, 0.87, 1.15, generator), torch.ones(batch)).sqrt()
    angle = torch.where(posted, uniform(batch, -0.2, 0.2, generator), torch.zeros(batch))
    flip = torch.where(uniform(batch, 0, 1, generator) < 0.5, -1.0, 1.0)
    # A garment may move until it touches the edge, and always by two of 28 pixels.
    room = (1 - scale).clamp(min=0) + 2 / 28
    shift = (torch.rand(batch, 2, generator=generator) * 2 - 1) * room.unsqueeze(1)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    rotation = torch.stack(
        [
            torch.stack([flip * cosine / stretch, flip * sine / stretch], dim=1),
            torch.stack([-sine * stretch, cosine * stretch], dim=1),
        ],
        dim=1,
    )  # (B, 2, 2), frame coordinates -> picture coordinates
    offset = -(rotation @ shift.unsqueeze(2))  # (B, 2, 1)
    theta = torch.cat([rotation, offset], dim=2)
    grid = F.affine_grid(theta, [batch, 1, phase.side_px, phase.side_px], align_corners=False)
    return F.grid_sample(values, grid, align_corners=False)


def tone(frames: Tensor, posted: Tensor, generator: torch.Generator) -> Tensor:
    """Give each frame a background, a contrast and colours: (B, 1, r, r) -> (B, 3, r, r).

    Black maps to `ground` and white to `figure`, per channel; the posted half is light on dark,
    dark on light or tinted, over a smooth uneven light with grain.
    """
    batch, _, side, _ = frames.shape

    def level(low: float, high: float) -> Tensor:
        grey = uniform(batch, low, high, generator).view(batch, 1, 1, 1)
        tint = (torch.rand(batch, 3, 1, 1, generator=generator) - 0.5) * 0.5
        tinted = uniform(batch, 0, 1, generator).view(batch, 1, 1, 1) < 0.4
        return torch.where(tinted, grey + tint, grey).clamp(0, 1)  # (B, 3, 1, 1)

    dark, light = level(0.0, 0.25), level(0.75, 1.0)
    pure = uniform(batch, 0, 1, generator).view(batch, 1, 1, 1) < 0.5  # black and white proper
    dark, light = torch.where(pure, 0.0, dark), torch.where(pure, 1.0, light)
    inverted = uniform(batch, 0, 1, generator).view(batch, 1, 1, 1) < 0.6
    ground, figure = torch.where(inverted, light, dark), torch.where(inverted, dark, light)
    light_map = torch.randn(batch, 1, 3, 3, generator=generator) * 0.05
    grain = torch.randn(batch, 1, side, side, generator=generator) * 0.02
    unevenness = F.interpolate(light_map, size=side, mode="bilinear") + grain
    unevenness = torch.where(pure, 0.0, unevenness)
    toned = (ground + (figure - ground) * frames + unevenness).clamp(0, 1)
    return torch.where(posted.view(batch, 1, 1, 1), toned, frames)


class GemmWeightGradient(torch.autograd.Function):
    """A 3x3 convolution whose weight gradient is nine matrix products.

    On maps of 2x2 positions oneDNN's own weight gradient runs at a quarter of the speed of a
    matrix product (30 against 128 GFLOP/s on two AVX2 cores), which cost a fifth of the run.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve with padding 1 and stride 1."""
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
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
        return x_gradient, torch.stack(taps, dim=2).unflatten(2, (3, 3))


def hasten(network: nn.Module) -> None:
    """Compile SGE, and let the last stage's 3x3 convolutions use `GemmWeightGradient`."""
    for module in network.modules():
        if isinstance(module, SpatialGroupEnhance):
            module.compile()
    for module in network.get_submodule("layer4").modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (3, 3)
            and module.stride == (1, 1)
        ):
            module.forward = lambda x, conv=module: GemmWeightGradient.apply(x, conv.weight)


def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Run either network on (B, 3, r, r) in [0, 1] and return (B, 10)."""
    outputs = network((pixels - MEAN) / STD)
    return outputs if isinstance(outputs, Tensor) else outputs.logits


def learning_rate(progress: float) -> float:
    """Warm up, then fall in a straight line to zero; `progress` runs from 0 to 1."""
    return PEAK_LEARNING_RATE * min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def optimizer_of(network: nn.Module) -> torch.optim.SGD:
    """SGD with momentum; no decay on biases, BatchNorm and SGE."""
    decayed = [p for p in network.parameters() if p.ndim > 1 and p.shape[0] > 1]
    others = [p for p in network.parameters() if not (p.ndim > 1 and p.shape[0] > 1)]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)


def schedule(images: int) -> list[Phase]:
    """The phase of every step of the run."""
    return [phase for phase in PHASES for _ in range(math.ceil(phase.epochs * images / BATCH))]


def batch_indices(images: int, step: int, seed: int) -> Tensor:
    """The images of a step: an epoch is one seeded shuffle, its last short batch dropped."""
    steps_per_epoch = images // BATCH
    epoch, position = divmod(step, steps_per_epoch)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed * 1000 + epoch))
    return order[position * BATCH : (position + 1) * BATCH]


@torch.no_grad()
def validate(network: nn.Module, split: Split, phase: Phase) -> tuple[float, float]:
    """Accuracy on held-out training images: as they are, and as posted."""
    network.eval()
    right = torch.zeros(2)
    for start in range(0, len(split.labels), 250):
        images, labels = split.images[start : start + 250], split.labels[start : start + 250]
        generator = torch.Generator().manual_seed(start)
        posted = place_and_tone_all(images, phase, generator)
        plain = F.interpolate(
            images.unsqueeze(1).float() / 255, size=phase.side_px, mode="bilinear"
        ).expand(-1, 3, -1, -1)
        for row, pixels in enumerate((plain, posted)):
            right[row] += (logits_of(network, pixels).argmax(1) == labels).sum()
    network.train()
    as_is, as_posted = (right / len(split.labels)).tolist()
    return as_is, as_posted


def place_and_tone_all(images: Tensor, phase: Phase, generator: torch.Generator) -> Tensor:
    """`augment` with every image posted."""
    posted = torch.ones(len(images), dtype=torch.bool)
    values = images.unsqueeze(1).float() / 255
    return tone(place(values, posted, phase, generator), posted, generator)


def train(network: nn.Module, name: str, seed: int, work_dir: Path) -> nn.Module:
    """Train to the end of the schedule, from the last checkpoint where there is one.

    Returns:
        The exponential average of the weights, in evaluation mode.
    """
    everything = read_split("train")
    split = Split(everything.images[:-VALIDATION_IMAGES], everything.labels[:-VALIDATION_IMAGES])
    held_out = Split(everything.images[-VALIDATION_IMAGES:], everything.labels[-VALIDATION_IMAGES:])
    steps = schedule(len(split.labels))
    network.to(memory_format=torch.channels_last).train()
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY), use_buffers=True
    )
    hasten(network)
    optimizer = optimizer_of(network)
    checkpoint = work_dir / f"{name}.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["done"]

    def save(finished: int) -> None:
        partial = checkpoint.with_suffix(".partial")
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "done": finished,
            },
            partial,
        )
        partial.replace(checkpoint)

    saved_at = time.monotonic()
    progress = tqdm(
        range(done, len(steps)), initial=done, total=len(steps), desc=name, mininterval=5
    )
    for step in progress:
        phase = steps[step]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / len(steps))
        chosen = batch_indices(len(split.labels), step, seed)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        pixels = augment(split.images[chosen], phase, generator)
        loss = F.cross_entropy(
            logits_of(network, pixels), split.labels[chosen], label_smoothing=LABEL_SMOOTHING
        )
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        progress.set_postfix(px=phase.side_px, loss=f"{loss.item():.3f}", refresh=False)
        if (step + 1) % 450 == 0 or step + 1 == len(steps):
            as_is, as_posted = validate(average, held_out, phase)
            record = {"step": step + 1, "px": phase.side_px, "as_is": as_is, "posted": as_posted}
            with (work_dir / f"{name}.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
        if time.monotonic() - saved_at > SAVE_EVERY_S:
            save(step + 1)
            saved_at = time.monotonic()
    save(len(steps))
    return average.module.eval()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work-dir", type=Path, default=Path("build/fashion-mnist"))
    parser.add_argument("--plain", action="store_true", help="train only the net without SGE")
    arguments = parser.parse_args()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    network = plain_resnet(SPEC) if arguments.plain else SgeResNet(SPEC)
    train(network, "plain" if arguments.plain else "sge", arguments.seed, arguments.work_dir)


if __name__ == "__main__":
    main()
