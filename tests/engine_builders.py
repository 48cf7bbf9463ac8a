"""Engines of the short network, for the tests of several modules."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from service.engines.aoti.build import ToCompile
from service.engines.aoti.engine import CompiledEngine
from service.engines.aoti.package import NETWORK
from service.engines.background_build import Build
from service.engines.base import Engine, EngineOutputs
from service.engines.eager import EagerEngine
from service.engines.gpu import GpuSurvey
from service.model.resnet import FEATURES
from service.serving.served_model import classifier_of
from service.store.load import LoadedModel
from tests.engines.networks import EVERY_BLOCK, short_model
from tests.running import noise

CPU = torch.device("cpu")
EXPLAINED = frozenset({FEATURES})

PYTHON_HEADER = Path(sysconfig.get_path("include")) / "Python.h"
HAS_COMPILER = shutil.which("g++") is not None and PYTHON_HEADER.exists()
NO_COMPILER = "torch.compile needs a C++ compiler and Python's headers on a CPU"
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason=NO_COMPILER)
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="the extra int8 is not installed"
)


USABLE_GPU = GpuSurvey(
    "13.0", 13000, is_available=True, name="GPU", capability=(7, 5), architectures=("sm_75",)
)


class AnyBatchEngine(CompiledEngine):
    """A compiled engine without the program for one image: it takes as long to build again."""

    def to_compile(self) -> ToCompile:
        """The network for any batch."""
        wanted = super().to_compile()
        return wanted._replace(programs={NETWORK: wanted.programs[NETWORK]})


def eager(precision: str = "fp32", device: str = "cpu") -> EagerEngine:
    """The short network on the eager engine."""
    return EagerEngine(short_model(), torch.device(device), precision)


def compiled(
    cache_dir: Path, precision: str = "fp32", device: str = "cpu", build: Build | None = None
) -> CompiledEngine:
    """The short network on the compiled engine."""
    return CompiledEngine(
        short_model(),
        torch.device(device),
        precision,
        max_batch=4,
        cache_dir=cache_dir,
        build=build,
    )


def rows(*seeds: int) -> list[np.ndarray]:
    """Pixels (3, 32, 32) uint8 of noise, one a seed."""
    return [noise(seed).transpose(2, 0, 1).copy() for seed in seeds]


def infer(
    engine: Engine, images: Sequence[np.ndarray], blocks: frozenset[str] = EVERY_BLOCK
) -> EngineOutputs:
    """Send images through an engine as one batch."""
    return engine.infer(engine.collate(images), blocks)


def assert_close(given: EngineOutputs, expected: EngineOutputs) -> None:
    """Logits and every similarity agree.

    Both are computed in float32; folding BatchNorm and another order of sums change the last
    digits.
    """
    np.testing.assert_allclose(given.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert given.similarities.keys() >= expected.similarities.keys()
    for name, similarity in expected.similarities.items():
        np.testing.assert_allclose(given.similarities[name], similarity, atol=1e-3)


def assert_features_explain(outputs: EngineOutputs, model: LoadedModel) -> None:
    """Every logit is the mean of its class's evidence, and its bias.

    To 1e-4 of the image's largest logit: a sum of thousands of products in float32 that comes to
    nearly nothing has no digits of its own.
    """
    assert outputs.features is not None
    classifier = classifier_of(model)
    classes = range(len(classifier.biases))
    for logits, features in zip(outputs.logits, outputs.features, strict=True):
        sums = classifier.evidence(features, classes).mean(axis=(1, 2)) + classifier.biases
        np.testing.assert_allclose(sums, logits, rtol=0, atol=1e-4 * np.abs(logits).max())
        contrast = classifier.evidence(features, [0])[0] - classifier.evidence(features, [1])[0]
        difference = classifier.biases[0] - classifier.biases[1]
        assert (
            abs(contrast.mean() + difference - (logits[0] - logits[1]))
            <= 1e-4 * np.abs(logits).max()
        )


def copying(engine: CompiledEngine) -> Build:
    """Stands for a compiler: fills a cache folder with what another engine has built."""

    def build(cache_dir: Path) -> None:
        shutil.copytree(engine.files.folder, cache_dir / engine.name, dirs_exist_ok=True)

    return build


def refuse(_: Path) -> None:
    """Stands where a compiler would begin its work."""
    raise NotImplementedError
