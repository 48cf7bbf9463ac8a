"""Train the model that ships: SGE-ResNet-18 on Fashion-MNIST, on a CPU, from one command.

    python model_store/fashion-mnist/recipe.py

trains the network, then the same one without SGE, measures both and writes the next version of
the model. It is seeded, and resumes where it was interrupted: each batch follows from the seed
and its number alone. `--skip-plain` leaves the second network out, `--measure-url URL` trains
nothing and posts the 20,000 test pictures to a running service instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from measure import measure, measure_over_http
from network import CONTRACT, SPEC
from publish import publish, round_to_half
from torchvision.models.resnet import ResNet
from training import ForeignCheckpoint, train

from service.model.resnet import ResNetSpec, SgeResNet, plain_resnet


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
    try:
        print(f"wrote {_train_and_publish(arguments)}")
    except ForeignCheckpoint as error:
        parser.exit(2, f"{error}\n")


def _train_and_publish(arguments: argparse.Namespace) -> Path:
    """Make the next version of the model; returns its folder."""
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
    return publish(shipped, CONTRACT, metrics, arguments.model_store)


if __name__ == "__main__":
    main()
