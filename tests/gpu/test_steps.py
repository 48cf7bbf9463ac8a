"""The steps that need no GPU to be tried: on a CPU, with a small network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.engines.base import EngineOutputs
from service.engines.driver import tensorrt_is_installed
from service.model.resnet import ResNetSpec
from tests.engine_builders import CPU, needs_compiler
from tests.gpu.runner import Figures, Skipped
from tests.gpu.scene import Scene, Wrong, gates_apart, logits_apart, require_close
from tests.gpu.steps import STEPS, Step, build, masks, parity, tensorrt
from tests.gpu.throughput import throughput

SMALL = ResNetSpec("sge_resnet18", classes=5, groups=8, input_px=64, stem="small")


class OnCpu(Scene):
    """In fp32 alone: compiling once is enough."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Without what the processor may take by itself."""
        return ("fp32",)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A small network on the CPU, built by the step that builds."""
    scene = OnCpu(tmp_path_factory.mktemp("scene"), CPU, SMALL, max_batch=4)
    assert build(scene).keys() == {"fp32, s", "fp32, MB"}
    return scene


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("step", [parity, masks])
def test_what_was_built_is_compared_with_the_eager_engine(
    scene: Scene, step: Callable[[Scene], Figures]
) -> None:
    """And is close to it, in every batch."""
    (apart,) = step(scene).values()

    assert isinstance(apart, float)
    assert 0 <= apart <= 1e-3


@needs_compiler
@pytest.mark.gpu  # it compiles two more networks for a minute; `make gpu-test` runs the step itself
def test_throughput_is_measured_beside_the_others(scene: Scene) -> None:
    """The eager engine, the network without SGE, and every mask."""
    figures = throughput(scene)

    assert figures.keys() == {
        "precision",
        "compiled, batch 1, images/s",
        "compiled / eager, batch 1",
        "compiled / plain ResNet, batch 1",
        "every mask costs, batch 1",
    }


def test_a_step_that_needs_what_was_not_built_fails(tmp_path: Path) -> None:
    """It says so, and builds nothing itself."""
    with pytest.raises(Wrong, match="nothing sound is built in fp32"):
        parity(OnCpu(tmp_path, CPU, SMALL, max_batch=4))


@pytest.mark.skipif(tensorrt_is_installed(), reason="TensorRT is installed")
def test_tensorrt_is_skipped_where_it_is_not_installed(tmp_path: Path) -> None:
    """With what to install."""
    with pytest.raises(Skipped, match="not installed"):
        tensorrt(OnCpu(tmp_path, CPU, SMALL))


def test_numbers_that_are_apart_are_wrong() -> None:
    """Not a number, too."""
    ones, more = (EngineOutputs(np.full((2, 3), v, np.float32), {}) for v in (1.0, 1.5))

    assert logits_apart(more, ones) == pytest.approx(0.5)
    assert require_close("logits", 0.5, 0.5) == 0.5
    for apart in (0.51, float("nan")):
        with pytest.raises(Wrong, match="allowed"):
            require_close("logits", apart, 0.5)


def test_a_block_that_is_missing_is_wrong(tmp_path: Path) -> None:
    """Its gates cannot be compared."""
    scene = OnCpu(tmp_path, CPU, SMALL)
    last = scene.blocks[-1]
    logits = np.zeros((1, 5), np.float32)
    expected = EngineOutputs(logits, {last: np.zeros((1, 8, 2, 2), np.float32)})

    with pytest.raises(Wrong, match=f"{last} has no similarity"):
        gates_apart(scene.model(), EngineOutputs(logits, {}), expected)


def test_steps_have_names_of_their_own() -> None:
    """What loses the GPU, and what takes longest, comes after what does not."""
    names = [step.name for step in STEPS]

    assert len(set(names)) == len(names)
    assert names[:3] == ["machine", "build", "capture"]
    assert names[-2:] == ["device_loss", "image"]
    assert all(isinstance(step, Step) and step.limit_s > 0 for step in STEPS)
