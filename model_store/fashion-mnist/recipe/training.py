"""The training loop: steps, checkpoints, and a look at held-out images now and then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from recipe.averaging import average, renew_statistics
from recipe.garments import Frames, Split, augment
from recipe.network import logits_of
from recipe.schedule import (
    AVERAGED_CYCLES,
    Phase,
    Plan,
    batch_indices,
    cycle_ends,
    schedule,
    spread,
)

TRAINING_IMAGES = 58_000  # the others of the 60,000 are held out
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.05
VALIDATE_EVERY = 450  # steps
SAVE_EVERY_S = 120
STATISTICS_BATCHES = 40

Network = TypeVar("Network", bound=nn.Module)


class ForeignCheckpoint(ValueError):
    """A checkpoint's steps are not the first steps of this run."""


def optimizer_of(network: nn.Module) -> torch.optim.SGD:
    """SGD with momentum; weights decay, but not biases, BatchNorm and SGE."""
    decayed = [p for p in network.parameters() if p.ndim > 1 and p.shape[0] > 1]
    others = [p for p in network.parameters() if not (p.ndim > 1 and p.shape[0] > 1)]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)


class Run:
    """A training run: what it changes, and where that is kept between interruptions."""

    def __init__(self, network: nn.Module, plan: Plan, checkpoint: Path) -> None:
        network.train()
        self.network = network
        self.plan = plan
        self.optimizer = optimizer_of(network)
        self.checkpoint = checkpoint
        self.parts: dict[str, Any] = {"network": network, "optimizer": self.optimizer}
        self.ends: dict[int, dict[str, Tensor]] = {}  # weights at ends of cycles, by steps done
        self.saved_at = time.monotonic()

    def resume(self) -> int:
        """Take up the last checkpoint; return how many steps are done.

        Raises:
            ForeignCheckpoint: other steps than this run's led to it, or it lacks the weights at
                the end of a cycle that is over and to be averaged. The network is as it was.
        """
        if not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        done = int(state["done"])
        self._check(done, state["fingerprint"], state["ends"])
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.ends = state["ends"]
        return done

    def _check(self, done: int, fingerprint: str, ends: Collection[int]) -> None:
        if fingerprint != self.plan.fingerprint(done):
            raise ForeignCheckpoint(
                f"{self.checkpoint} has {done} steps of another seed, schedule or set of images "
                f"than this run of seed {self.plan.seed} and {len(self.plan.steps)} steps on "
                f"{self.plan.images} images; move it away to start anew"
            )
        missing = [end for end in self.plan.ends if end <= done and end not in ends]
        if missing:
            raise ForeignCheckpoint(
                f"{self.checkpoint} lacks the weights after {missing} steps, which are averaged; "
                "move it away to start anew"
            )

    def remember_end(self, done: int) -> None:
        """Keep the weights at the end of a cycle."""
        self.ends[done] = {
            name: value.detach().clone() for name, value in self.network.state_dict().items()
        }

    def save(self, done: int) -> None:
        """Keep everything; an interruption meanwhile leaves the previous checkpoint."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {name: part.state_dict() for name, part in self.parts.items()}
        fingerprint = self.plan.fingerprint(done)
        known = {"done": done, "fingerprint": fingerprint, "ends": self.ends}
        torch.save({**state, **known}, partial)
        partial.replace(self.checkpoint)
        self.saved_at = time.monotonic()

    def step(self, split: Split, number: int) -> float:
        """Train on the batch of a step and return the loss."""
        seed, step = self.plan.seed, self.plan.steps[number]
        pixels, labels = make_batch(split, number, seed, step.phase)
        loss = F.cross_entropy(
            logits_of(self.network, pixels), labels, label_smoothing=LABEL_SMOOTHING
        )
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} at step {number}")
        for group in self.optimizer.param_groups:
            group["lr"] = step.learning_rate
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()


def make_batch(split: Split, number: int, seed: int, phase: Phase) -> tuple[Tensor, Tensor]:
    """The frames (B, 3, r, r) and labels (B,) of a step, which follow from its number and seed."""
    chosen = batch_indices(len(split.labels), number, seed)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    pixels = augment(split.images[chosen], spread(phase.posted), phase.frames, generator)
    return pixels, split.labels[chosen]


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


def whole_plan(seed: int) -> Plan:
    """Every step of the recipe by one seed."""
    ends = cycle_ends(TRAINING_IMAGES)[-AVERAGED_CYCLES:]
    return Plan(seed, TRAINING_IMAGES, schedule(TRAINING_IMAGES), tuple(ends))


def train(build: Callable[[], Network], plan: Plan, data: Split, checkpoint: Path) -> Network:
    """Train to the end of a plan, from the checkpoint where there is one.

    Args:
        build: makes the network, which gives `Outputs`; its first weights follow from the seed.
        plan: its first `images` of `data` are trained on, the others are held out.
        data: images and labels.
        checkpoint: kept here; how held-out images fare is appended to a `.jsonl` beside it.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        ForeignCheckpoint: the checkpoint is another run's.
    """
    split = Split(data.images[: plan.images], data.labels[: plan.images])
    held_out = Split(data.images[plan.images :], data.labels[plan.images :])
    torch.manual_seed(plan.seed)
    network = build().to(memory_format=torch.channels_last)
    run = Run(network, plan, checkpoint)
    done, last = run.resume(), len(plan.steps)
    progress = tqdm(range(done, last), checkpoint.stem, initial=done, total=last, mininterval=5)
    for number in progress:
        frames = plan.steps[number].phase.frames
        loss = run.step(split, number)
        progress.set_postfix(px=frames.side_px, loss=f"{loss:.3f}", refresh=False)
        if (number + 1) % VALIDATE_EVERY == 0 or number + 1 == last:
            record = {"step": number + 1, **validate(network, held_out, frames)}
            with checkpoint.with_suffix(".jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
        if number + 1 in plan.ends:
            run.remember_end(number + 1)
        if time.monotonic() - run.saved_at > SAVE_EVERY_S or number + 1 in plan.ends:
            run.save(number + 1)
    network.load_state_dict(average([run.ends[end] for end in plan.ends]))
    phase = plan.steps[-1].phase
    numbers = range(last, last + STATISTICS_BATCHES)
    renew_statistics(
        network, (make_batch(split, number, plan.seed, phase)[0] for number in numbers)
    )
    return network
