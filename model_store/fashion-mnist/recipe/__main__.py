"""Train the model that ships: SGE-ResNet-18 on Fashion-MNIST, on a CPU, from one command.

    PYTHONPATH=model_store/fashion-mnist .venv/bin/python -m recipe

run in the repository's root, trains the network, measures it and writes the next version of the
model into the store: weights, labels, manifest and card. It needs what `make test` installs, and
the data set from the Debian package dataset-fashion-mnist. On two cores of an AMD EPYC with AVX2
it takes about five hours in float32, by the time of single steps. It is seeded, and resumes where
it was interrupted: each batch follows from the seed and its number alone. `--work-dir` keeps its
checkpoint and a log of how held-out images fare.

`--measure-url URL` trains nothing and posts the 20,000 test pictures to a running service instead;
`--measure-evidence model_store/fashion-mnist/4` scores the attributions and masks of a version.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from recipe.evidence import measure_evidence
from recipe.garments import read_split
from recipe.measure import measure, measure_over_http
from recipe.network import SPEC
from recipe.publish import publish, round_to_half
from recipe.training import ForeignCheckpoint, train, whole_plan
from service.errors import StoreError
from service.model.resnet import SgeResNet
from service.store.load import load_version


def main(words: Sequence[str] | None = None) -> None:
    """Run by the words of the command line."""
    parser = argparse.ArgumentParser(
        prog="recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work-dir", type=Path, default=Path("build/fashion-mnist"))
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--measure-url", metavar="URL")
    parser.add_argument("--measure-evidence", type=Path, metavar="VERSION")
    arguments = parser.parse_args(words)
    if arguments.measure_evidence is not None:
        network = load_version(arguments.measure_evidence).network
        print(json.dumps(measure_evidence(network, read_split("t10k")), indent=2))
        return
    if arguments.measure_url is not None:
        print(json.dumps(measure_over_http(arguments.measure_url, read_split("t10k")), indent=2))
        return
    try:
        print(f"wrote {_make_version(arguments)}")
    except (ForeignCheckpoint, StoreError) as error:
        parser.exit(2, f"{error}\n")


def _make_version(arguments: argparse.Namespace) -> Path:
    """Make the next version of the model; returns its folder."""
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    plan = whole_plan(arguments.seed)
    build = functools.partial(SgeResNet, SPEC)
    network = train(build, plan, read_split("train"), arguments.work_dir / "sge.pt")
    round_to_half(network)
    test = read_split("t10k")
    figures = {
        "plan_sha256": plan.fingerprint(),
        **measure(network, test),
        "evidence": measure_evidence(network, test),
    }
    print(json.dumps(figures))
    return publish(network, figures, arguments.model_store)


if __name__ == "__main__":
    main()
