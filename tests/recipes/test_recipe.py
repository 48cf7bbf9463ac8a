"""The shipped model's recipe: its schedule, and what a resumed run takes up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipe.averaging import average, renew_statistics
from recipe.garments import Frames, Split
from recipe.schedule import (
    BATCH,
    CYCLES,
    Cycle,
    Phase,
    Plan,
    Step,
    batch_indices,
    cycle_ends,
    schedule,
    spread,
)
from recipe.training import ForeignCheckpoint, Run, train
from service.model.resnet import Outputs, SgeBasicBlock
from service.model.sge import SpatialGroupEnhance

IMAGES = 2 * BATCH + 40
FIRST = Cycle(0.1, (Phase(Frames(8, smallest=0.7), 0.8), Phase(Frames(12, smallest=0.5), 0.5)))
SECOND = Cycle(0.05, (Phase(Frames(12, smallest=0.4), 1.0, posted=0.25),))
DONE = 3


def plan_of(*cycles: Cycle, seed: int = 1, images: int = IMAGES) -> Plan:
    """A plan of a few steps on small frames."""
    return Plan(seed, images, schedule(images, cycles))


class SmallNetwork(nn.Module):
    """One block with SGE, which trains in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.normalisation = nn.BatchNorm2d(3)
        self.stem = nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1, bias=False)
        self.block = SgeBasicBlock(8, 8)
        self.block.sge = SpatialGroupEnhance(8, groups=2)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Outputs:
        """Classify (B, 3, r, r)."""
        maps, similarity = self.block(self.stem(self.normalisation(x)))
        logits = self.fc(F.adaptive_avg_pool2d(maps, 4).flatten(1))  # (B, 10)
        return Outputs(logits, {"block": similarity})


def run_of(plan: Plan, checkpoint: Path) -> Run:
    """A run of a small network, its first weights always the same."""
    torch.manual_seed(5)
    return Run(SmallNetwork(), plan, checkpoint)


@pytest.fixture
def split(generator: torch.Generator) -> Split:
    """Images of noise, their labels drawn."""
    images = torch.randint(0, 256, (IMAGES, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, 10, (IMAGES,), generator=generator))


class TestSchedule:
    """Every step follows from its number."""

    def test_a_phase_lasts_its_epochs(self) -> None:
        """Begun batches count whole."""
        sides = [step.phase.frames.side_px for step in schedule(IMAGES, (FIRST, SECOND))]

        assert sides == [8] * 2 + [12] * 2 + [12] * 3

    @pytest.mark.parametrize("cycle", CYCLES)
    def test_a_cycle_rises_once_and_falls_nearly_to_zero(self, cycle: Cycle) -> None:
        """Its learning rate never exceeds its peak, and comes close to it."""
        rates = [step.learning_rate for step in schedule(58_000, (cycle,))]

        top = rates.index(max(rates))
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[top:] == sorted(rates[top:], reverse=True)
        assert rates[0] == 0
        assert 0 < rates[-1] < 0.01 * cycle.peak_learning_rate
        assert 0.99 * cycle.peak_learning_rate < max(rates) <= cycle.peak_learning_rate

    def test_an_epoch_shows_no_image_twice(self) -> None:
        """Its batches are parts of one shuffle, and the next epoch's are of another."""
        epochs = [
            torch.cat([batch_indices(IMAGES, step, seed=1) for step in steps])
            for steps in ((0, 1), (2, 3))
        ]

        assert [len(set(epoch.tolist())) for epoch in epochs] == [2 * BATCH] * 2
        assert not torch.equal(*epochs)

    def test_a_seed_has_shuffles_of_its_own(self) -> None:
        """Equal seeds give equal batches, others do not."""
        first, again, other = (batch_indices(IMAGES, 1, seed) for seed in (1, 1, 2))

        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    @pytest.mark.parametrize("share", [0.0, 0.25, 0.4, 0.5, 1.0])
    def test_a_share_is_spread_evenly(self, share: float) -> None:
        """Any stretch of a batch holds its part of the marked images, give or take one."""
        marked = spread(share).cumsum(0)

        expected = share * torch.arange(1, BATCH + 1)
        assert (marked - expected).abs().max() < 1


class TestResuming:
    """An interrupted run ends as one that was not."""

    def test_a_resumed_run_gives_the_same_weights(self, tmp_path: Path, split: Split) -> None:
        """To the last bit."""
        plan = plan_of(FIRST, SECOND)
        whole = run_of(plan, tmp_path / "whole.pt")
        for number in range(len(plan.steps)):
            whole.step(split, number)
        interrupted = run_of(plan, tmp_path / "part.pt")
        for number in range(DONE):
            interrupted.step(split, number)
        interrupted.save(DONE)

        resumed = run_of(plan, tmp_path / "part.pt")
        done = resumed.resume()
        for number in range(done, len(plan.steps)):
            resumed.step(split, number)

        assert done == DONE
        for name, weights in whole.network.state_dict().items():
            assert torch.equal(resumed.network.state_dict()[name], weights), name

    def test_a_run_without_a_checkpoint_begins_at_the_first_step(self, tmp_path: Path) -> None:
        """Nothing is done yet."""
        assert run_of(plan_of(FIRST), tmp_path / "none.pt").resume() == 0

    def test_a_cycle_may_be_appended(self, tmp_path: Path) -> None:
        """Only the steps that are done have to be the same."""
        first = plan_of(FIRST)
        run_of(first, tmp_path / "run.pt").save(len(first.steps))

        longer = run_of(plan_of(FIRST, SECOND), tmp_path / "run.pt")

        assert longer.resume() == len(first.steps)

    @pytest.mark.parametrize(
        "other",
        [
            plan_of(FIRST, seed=2),
            plan_of(FIRST, images=IMAGES + 1),
            plan_of(replace(FIRST, peak_learning_rate=0.2)),
            plan_of(SECOND),
            plan_of(Cycle(0.1, tuple(replace(phase, posted=0.4) for phase in FIRST.phases))),
            Plan(1, IMAGES, plan_of(FIRST).steps[: DONE - 1]),
        ],
        ids=["seed", "images", "learning rate", "frames", "posted share", "fewer steps"],
    )
    def test_another_runs_checkpoint_is_refused(self, tmp_path: Path, other: Plan) -> None:
        """Its steps would be passed off as this run's; the network is left as it was."""
        saved = run_of(plan_of(FIRST), tmp_path / "run.pt")
        for weights in saved.network.parameters():
            nn.init.constant_(weights, 7)
        saved.save(DONE)
        run = run_of(other, tmp_path / "run.pt")

        with pytest.raises(ForeignCheckpoint, match=r"run\.pt has 3 steps of another seed"):
            run.resume()

        assert not any((weights == 7).any() for weights in run.network.parameters())


class TestAveraging:
    """The ends of the last cycles make one network."""

    def test_cycles_end_where_the_next_begin(self) -> None:
        """The last one ends with the run."""
        ends = cycle_ends(IMAGES, (FIRST, SECOND))

        assert ends == [4, 7]
        assert ends[-1] == len(schedule(IMAGES, (FIRST, SECOND)))

    def test_weights_are_averaged_and_counts_are_not(self) -> None:
        """In the weights' own dtype."""
        first = {"weight": torch.tensor([1.0, 2.0]), "seen": torch.tensor(3)}
        second = {"weight": torch.tensor([3.0, 6.0]), "seen": torch.tensor(8)}

        mean = average([first, second])

        assert torch.equal(mean["weight"], torch.tensor([2.0, 4.0]))
        assert mean["weight"].dtype == torch.float32
        assert mean["seen"] == 8

    def test_statistics_are_those_of_the_batches(self, generator: torch.Generator) -> None:
        """Whatever they were before, and the network is ready to be measured."""
        network = SmallNetwork()
        batches = [torch.rand(4, 3, 8, 8, generator=generator) for _ in range(3)]

        renew_statistics(network, batches)

        normalisation = network.normalisation
        seen = (torch.cat(batches) - 0.5) / 0.25  # as the network sees pixels
        expected = torch.stack([(b - 0.5).div(0.25).mean(dim=(0, 2, 3)) for b in batches]).mean(0)
        torch.testing.assert_close(normalisation.running_mean, expected)
        torch.testing.assert_close(
            normalisation.running_var, seen.var(dim=(0, 2, 3)), rtol=0.05, atol=0.01
        )
        assert normalisation.momentum == 0.1
        assert not network.training

    def test_the_ends_of_cycles_outlast_an_interruption(self, tmp_path: Path, split: Split) -> None:
        """They are part of the checkpoint; one without them is not taken up."""
        plan = replace(plan_of(FIRST, SECOND), ends=(1, 7))
        run = run_of(plan, tmp_path / "part.pt")
        run.step(split, 0)
        run.remember_end(1)
        weight = run.ends[1]["fc.weight"].clone()
        run.step(split, 1)  # leaves what was kept alone
        run.save(2)

        resumed = run_of(plan, tmp_path / "part.pt")
        done = resumed.resume()

        assert done == 2
        assert torch.equal(resumed.ends[1]["fc.weight"], weight)
        assert not torch.equal(resumed.network.state_dict()["fc.weight"], weight)
        other = run_of(replace(plan, ends=(2, 7)), tmp_path / "part.pt")
        with pytest.raises(ForeignCheckpoint, match=r"lacks the weights after \[2\] steps"):
            other.resume()


class TestTraining:
    """From the first weights to a network that can be measured."""

    def test_the_loss_falls(self, tmp_path: Path) -> None:
        """Ten made-up kinds of garment are learned in thirty steps, with SGE's own numbers."""
        kinds = torch.arange(BATCH) % 10
        images = torch.zeros(BATCH, 28, 28, dtype=torch.uint8)
        for image, kind in zip(images, kinds.tolist(), strict=True):
            image[2 * kind : 2 * kind + 8, 4:24] = 200  # a bar, the lower the higher the number
        step = Step(Phase(Frames(16, smallest=0.9, liberty=0.0), 1, posted=0.0), 0.05)
        run = run_of(Plan(1, BATCH, [step] * 30), tmp_path / "run.pt")

        losses = [run.step(Split(images, kinds), number) for number in range(30)]

        assert losses[0] > 2
        assert losses[-1] < 1
        assert all(weights.any() for weights in run.network.get_submodule("block.sge").parameters())

    def test_a_network_is_the_mean_of_its_ends(self, tmp_path: Path, split: Split) -> None:
        """In evaluation mode; a finished run gives it again."""
        side = Frames(16, smallest=0.7)
        steps = schedule(2 * BATCH, (Cycle(0.1, (Phase(side, 1.5),)),))
        plan = Plan(seed=1, images=2 * BATCH, steps=steps, ends=(2, 3))

        first, again = (train(SmallNetwork, plan, split, tmp_path / "net.pt") for _ in range(2))

        ends = torch.load(tmp_path / "net.pt", weights_only=True)["ends"]
        logged = (tmp_path / "net.jsonl").read_text().splitlines()
        expected = average([ends[2], ends[3]])
        weights = first.state_dict()
        assert list(ends) == [2, 3]
        assert not torch.equal(ends[2]["fc.weight"], ends[3]["fc.weight"])
        for name, _ in first.named_parameters():
            assert torch.equal(weights[name], expected[name]), name
        for name, value in again.state_dict().items():
            assert torch.equal(value, weights[name]), name
        assert not first.training
        assert [json.loads(line)["step"] for line in logged] == [3]

    def test_first_weights_follow_from_the_seed(self, tmp_path: Path, split: Split) -> None:
        """Whatever was drawn before."""
        steps = schedule(2 * BATCH, (Cycle(0.0, (Phase(Frames(16, smallest=0.7), 0.5),)),))
        plans = [Plan(seed, 2 * BATCH, steps, ends=(1,)) for seed in (1, 1, 2)]

        first, again, other = (
            train(SmallNetwork, plan, split, tmp_path / f"{number}.pt").fc.weight
            for number, plan in enumerate(plans)
        )

        assert torch.equal(first, again)
        assert not torch.equal(first, other)
