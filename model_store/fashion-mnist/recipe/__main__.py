"""Train the model that ships: SGE-ResNet-18 on Fashion-MNIST, on a CPU, from one command.

    PYTHONPATH=model_store/fashion-mnist python -m recipe

trains the network, then the same one without SGE, measures both and writes the next version of
the model. It is seeded, and resumes where it was interrupted: each batch follows from the seed
and its number alone. `--skip-plain` leaves the second network out, `--plain-of VERSION` trains
that one alone and adds its figures to a version that is there. `--measure-url URL` trains
nothing and posts the 20,000 test pictures to a running service instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from recipe.garments import read_split
from recipe.measure import measure, measure_over_http
from recipe.network import CONTRACT
from recipe.publish import NAME, OtherRecipe, add_plain, check_same_recipe, publish, round_to_half
from recipe.training import ForeignCheckpoint, Network, train, whole_plan
from service.errors import StoreError
from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet


def main(words: Sequence[str] | None = None) -> None:
    """Run by the words of the command line."""
    parser = argparse.ArgumentParser(
        prog="recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work-dir", type=Path, default=Path("build/fashion-mnist"))
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--skip-plain", action="store_true")
    which.add_argument("--plain-of", metavar="VERSION")
    which.add_argument("--measure-url", metavar="URL")
    arguments = parser.parse_args(words)
    if arguments.measure_url is not None:
        print(json.dumps(measure_over_http(arguments.measure_url), indent=2))
        return
    make = _make_version if arguments.plain_of is None else _compare
    try:
        print(f"wrote {make(arguments)}")
    except (ForeignCheckpoint, OtherRecipe, StoreError) as error:
        parser.exit(2, f"{error}\n")


def _make_version(arguments: argparse.Namespace) -> Path:
    """Make the next version of the model; returns its folder."""
    network, figures = _train_and_measure(SgeResNet, "sge", arguments)
    metrics = {"sge": figures}
    if not arguments.skip_plain:
        _, metrics["plain"] = _train_and_measure(plain_resnet, "plain", arguments)
    return publish(network, CONTRACT, metrics, arguments.model_store)


def _compare(arguments: argparse.Namespace) -> Path:
    """Add what the network without SGE reaches to a version; returns its folder."""
    version: Path = arguments.model_store / NAME / arguments.plain_of
    check_same_recipe(version, whole_plan(arguments.seed))  # before hours of training
    _, figures = _train_and_measure(plain_resnet, "plain", arguments)
    add_plain(version, figures)
    return version


def _train_and_measure(
    build: Callable[[ResNetSpec], Network], name: str, arguments: argparse.Namespace
) -> tuple[Network, dict[str, Any]]:
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    plan = whole_plan(arguments.seed)
    network = train(build, plan, read_split("train"), arguments.work_dir / f"{name}.pt")
    round_to_half(network)
    figures = {"plan_sha256": plan.fingerprint(), **measure(network, CONTRACT)}
    print(f"{name}: {json.dumps(figures)}")
    return network, figures


if __name__ == "__main__":
    main()
