"""The int8 engine: what it computes, when it is built anew, and what it refuses."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.config import Settings
from service.engines.aoti.int8 import Int8Engine, weight_bits
from service.engines.background_build import Build
from service.engines.plan import Machine, plan_engines
from service.errors import BadSetting
from service.images.contract import InputContract
from service.model.fuse import fuse
from service.model.graph import InferenceGraph
from tests.engine_builders import (
    EXPLAINED,
    USABLE_GPU,
    assert_features_explain,
    eager,
    infer,
    needs_compiler,
    needs_torchao,
    refuse,
    rows,
)
from tests.engines.networks import EVERY_BLOCK, short_model


class Noise:
    """Noise to be calibrated by, in place of pictures."""

    def __init__(self, digest: str = "noise") -> None:
        self.digest = digest

    def pixels(self, contract: InputContract) -> NDArray[np.uint8]:
        """Sixteen images."""
        return np.stack(rows(*range(100, 116)))


def int8(
    cache_dir: Path, calibration: Noise | None = None, build: Build | None = None
) -> Int8Engine:
    """The short network on the int8 engine."""
    return Int8Engine(
        short_model(), max_batch=4, cache_dir=cache_dir, calibration=calibration, build=build
    )


@needs_torchao
@pytest.mark.parametrize("bits", [7, 8])
def test_a_quantised_program_stays_close_to_the_network(bits: int) -> None:
    """Before they are compiled: logits within a few per cent, and every convolution in int8."""
    quantise = importlib.import_module("service.engines.aoti.quantise")  # which imports torchao
    network, contract = short_model().network, short_model().manifest.input
    graph = InferenceGraph(fuse(network), contract.mean, contract.std)
    pixels = torch.from_numpy(Noise().pixels(contract))

    program = quantise.export_quantised(graph, pixels, bits)

    logits, features, *_ = program.module()(pixels)
    expected = graph(pixels).logits
    torch.testing.assert_close(graph.network.fc(features.mean(dim=(1, 2))), logits)
    assert float((logits - expected).norm() / expected.norm()) < 0.1
    weights = [value for value in program.state_dict.values() if value.dtype == torch.int8]
    convolutions = sum(isinstance(part, torch.nn.Conv2d) for part in network.modules())
    assert len(weights) == convolutions
    assert max(int(weight.abs().max()) for weight in weights) == 2 ** (bits - 1) - 1


@needs_torchao
@needs_compiler
@pytest.mark.slow
def test_int8_computes_what_fp32_does_and_is_kept(tmp_path: Path) -> None:
    """Close, for any batch, features and masks; later starts need neither pictures nor torchao."""
    reference, built, again = eager(), int8(tmp_path, Noise()), int8(tmp_path, build=refuse)
    for engine in (reference, built, again):
        engine.load()
    images = rows(100, 101, 102)  # that it was calibrated by

    expected, given, kept = (infer(engine, images) for engine in (reference, built, again))
    alone = infer(again, images[1:2])
    explained = infer(again, images, EXPLAINED)

    assert_features_explain(explained, short_model())
    # A saturated sum would be off by its own size; 7 bits of weights are off by a hundredth.
    difference = np.linalg.norm(given.logits - expected.logits)
    assert difference < 0.1 * np.linalg.norm(expected.logits)
    assert given.similarities.keys() == EVERY_BLOCK
    for name, similarity in expected.similarities.items():
        assert np.abs(given.similarities[name] - similarity).mean() < 0.2
    np.testing.assert_array_equal(kept.logits, given.logits)
    np.testing.assert_allclose(alone.logits[0], kept.logits[1], atol=1e-3)


def test_other_pictures_are_another_engine(tmp_path: Path) -> None:
    """The pictures are in the name of a package, whatever else is alike."""
    one, other = int8(tmp_path, Noise("1")), int8(tmp_path, Noise("2"))

    assert one.key != other.key
    assert one.key == int8(tmp_path, Noise("1")).key


def test_without_pictures_the_latest_package_is_taken(tmp_path: Path) -> None:
    """Once one was built, the pictures need not be there any more."""
    engine = int8(tmp_path, Noise())
    engine.files.write(engine._name_of_digest, Noise().digest.encode())
    engine.files.write(engine.key, b"a package")

    without = int8(tmp_path)

    assert without.key == engine.key
    assert without.is_built


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "SGE_ENGINE=int8 needs SGE_CALIBRATION_DIR"),
        ({"precision": "bf16"}, "SGE_PRECISION=bf16 has to be auto"),
    ],
)
def test_what_int8_cannot_do_is_told_at_once(
    tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    """A wrong setting is one line before anything is loaded."""
    given = Settings(engine="int8", device="cpu", cache_dir=tmp_path, **settings)  # type: ignore[arg-type]

    with pytest.raises(BadSetting, match=reason):
        plan_engines(short_model(), given)


def test_int8_is_refused_on_a_gpu(tmp_path: Path) -> None:
    """The libraries that multiply 8 bits here are a CPU's."""
    settings = Settings(engine="int8", cache_dir=tmp_path)

    with pytest.raises(BadSetting, match="int8 runs on a CPU only: set SGE_DEVICE=cpu"):
        plan_engines(short_model(), settings, Noise(), machine=Machine(survey=lambda: USABLE_GPU))


def test_the_absence_of_torchao_is_told(tmp_path: Path) -> None:
    """Only a build needs it, and says what to install."""
    settings = Settings(engine="int8", device="cpu", cache_dir=tmp_path)
    machine = Machine(has_torchao=lambda: False)

    with pytest.raises(BadSetting, match=r"pip install 'sge-serve\[int8\]'"):
        plan_engines(short_model(), settings, Noise(), machine=machine)


@pytest.mark.parametrize(
    ("capabilities", "bits"),
    [
        ({"avx2": True}, 7),
        ({"avx512_f": True, "avx512_vnni": False}, 7),
        ({"avx512_vnni": True}, 8),
        ({"avx_vnni": True}, 8),
    ],
)
def test_weights_have_as_many_bits_as_the_processor_can_sum(
    capabilities: dict[str, bool], bits: int
) -> None:
    """Eight with VNNI, seven where pairs of products are added in 16 bits."""
    assert weight_bits(capabilities) == bits
