"""A published SGE-ResNet-50, imported and served, against an implementation of its own.

The implementation below shares nothing with the service: it reads the authors' state dict and
computes in float64 from the papers' formulas. The weights are random, for ours to compare alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import center_crop, resize

from service.cli import run
from service.store.load import load_version
from tests.engine_builders import CPU, AnyBatchEngine, needs_compiler
from tests.running import png_of, running

pytestmark = pytest.mark.anyio

GROUPS = 64
REPEATS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)
Weights = dict[str, Tensor]


def blocks() -> Iterator[tuple[str, int, int]]:
    """Name, width and stride of the 16 blocks."""
    for stage, (repeats, width) in enumerate(zip(REPEATS, WIDTHS, strict=True), start=1):
        for index in range(repeats):
            yield f"layer{stage}.{index}", width, 2 if stage > 1 and index == 0 else 1


def random_weights() -> Weights:
    """A state dict in the authors' names; sizes keep activations near one."""
    generator = torch.Generator().manual_seed(5)
    weights: Weights = {}

    def convolution(name: str, channels_out: int, channels_in: int, side: int) -> None:
        shape = (channels_out, channels_in, side, side)
        fan_in = channels_in * side * side
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    def norm(name: str, channels: int, gain: float = 1.0) -> None:
        weights[f"{name}.weight"] = gain * (0.7 + 0.6 * torch.rand(channels, generator=generator))
        weights[f"{name}.bias"] = 0.2 * torch.randn(channels, generator=generator)
        weights[f"{name}.running_mean"] = 0.2 * torch.randn(channels, generator=generator)
        weights[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv1", 64, 3, 7)
    norm("bn1", 64)
    channels = 64
    for name, width, _ in blocks():
        convolution(f"{name}.conv1", width, channels, 1)
        convolution(f"{name}.conv2", width, width, 3)
        convolution(f"{name}.conv3", 4 * width, width, 1)
        for number, size in ((1, width), (2, width), (3, 4 * width)):
            norm(f"{name}.bn{number}", size, gain=0.5 if number == 3 else 1.0)
        weights[f"{name}.sge.weight"] = torch.randn(1, GROUPS, 1, 1, generator=generator)
        weights[f"{name}.sge.bias"] = torch.randn(1, GROUPS, 1, 1, generator=generator)
        if name.endswith(".0"):
            convolution(f"{name}.downsample.0", 4 * width, channels, 1)
            norm(f"{name}.downsample.1", 4 * width)
        channels = 4 * width
    weights["fc.weight"] = torch.randn(1000, 2048, generator=generator) * 0.05
    weights["fc.bias"] = torch.randn(1000, generator=generator)
    return weights


def enhance(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Spatial Group-wise Enhance, one group at a time; returns the map and the gates."""
    enhanced, gates = [], []
    for group, part in enumerate(x.chunk(GROUPS, dim=1)):
        descriptor = part.mean(dim=(2, 3))
        raw = torch.einsum("bc,bchw->bhw", descriptor, part)
        flat = raw.flatten(1)
        centred = raw - flat.mean(1)[:, None, None]
        normal = centred / (flat.std(1, correction=1)[:, None, None] + 1e-5)
        gate = torch.sigmoid(normal * gamma[0, group] + beta[0, group])
        gates.append(gate)
        enhanced.append(part * gate[:, None])
    return torch.cat(enhanced, dim=1), torch.stack(gates, dim=1)


def independent(weights: Weights, pixels: NDArray[np.uint8]) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores (1000,) and the gates of every block of one image (3, 224, 224), in float64."""
    w = {name: value.double() for name, value in weights.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / (variance + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]

    mean = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
    x = ((torch.from_numpy(pixels).double() / 255 - mean) / deviation)[None]
    x = norm(F.conv2d(x, w["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    gates = {}
    for name, _, stride in blocks():
        branch = norm(F.conv2d(x, w[f"{name}.conv1.weight"]), f"{name}.bn1").relu()
        branch = F.conv2d(branch, w[f"{name}.conv2.weight"], stride=stride, padding=1)
        branch = norm(branch, f"{name}.bn2").relu()
        branch = norm(F.conv2d(branch, w[f"{name}.conv3.weight"]), f"{name}.bn3")
        branch, gate = enhance(branch, w[f"{name}.sge.weight"], w[f"{name}.sge.bias"])
        gates[name] = gate[0]
        if name.endswith(".0"):
            x = F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride)
            x = norm(x, f"{name}.downsample.1")
        x = (branch + x).relu()
    logits = x.mean(dim=(2, 3)) @ w["fc.weight"].T + w["fc.bias"]
    return logits.softmax(1)[0], gates


def picture(seed: int) -> NDArray[np.uint8]:
    """An image (224, 256, 3) uint8 of soft blobs, not plain noise."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((256, 224), Image.Resampling.BICUBIC))


def model_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the service makes of it, by torchvision's own recipe for ImageNet."""
    picture = Image.open(io.BytesIO(png_of(image)))
    scaled = resize(picture, [256])  # type: ignore[arg-type]
    cropped = center_crop(scaled, [224])
    return np.asarray(cropped).transpose(2, 0, 1).copy()


@pytest.fixture(scope="module")
def weights() -> Weights:
    """The checkpoint's weights."""
    return random_weights()


@pytest.fixture(scope="module")
def version(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint in the authors' format, imported by the command."""
    folder = tmp_path_factory.mktemp("published")
    published = {f"module.{name}": value for name, value in weights.items()}
    torch.save({"state_dict": published}, folder / "sge_resnet50.pth.tar")
    where = ["--model-store", str(folder / "store")]
    what = [str(folder / "sge_resnet50.pth.tar"), "--name", "published", "--arch", "sge_resnet50"]
    assert run(["import", *what, *where]) == 0
    return folder / "store" / "published" / "1"


async def test_scores_and_gates_are_those_of_the_papers_formulas(
    weights: Weights, version: Path
) -> None:
    """Served in fp32 on the eager engine: scores and all 16 blocks' gates agree to 1e-4."""
    image = picture(1)
    scores, gates = independent(weights, model_pixels(image))

    async with running(load_version(version), max_batch=2) as service:
        reply = await service.predict(png_of(image), "top_k=1000&masks=all")

    result = reply.json()["results"][0]
    given = np.zeros(1000)
    for prediction in result["predictions"]:
        given[prediction["index"]] = prediction["score"]
    np.testing.assert_allclose(given, scores.numpy(), atol=1e-4)
    assert [mask["block"] for mask in result["masks"]] == list(gates)
    for mask in result["masks"]:
        np.testing.assert_allclose(mask["data"], gates[mask["block"]].numpy(), atol=1e-4)


@needs_compiler
@pytest.mark.slow
def test_compiled_bf16_finds_the_same_class(
    weights: Weights, version: Path, tmp_path: Path
) -> None:
    """Where the reference is sure by more than 0.02, bf16 agrees with it on the first class."""
    loaded = load_version(version)
    engine = AnyBatchEngine(loaded, CPU, "bf16", max_batch=2, cache_dir=tmp_path)
    engine.load()
    pixels = [model_pixels(picture(seed)) for seed in range(8)]
    references = [independent(weights, row)[0].sort(descending=True) for row in pixels]

    batches = [engine.collate(pixels[start : start + 2]) for start in range(0, len(pixels), 2)]
    logits = np.concatenate([engine.infer(batch, frozenset()).logits for batch in batches])

    sure = [i for i, r in enumerate(references) if r.values[0] - r.values[1] > 0.02]
    assert len(sure) >= 4
    assert [int(logits[i].argmax()) for i in sure] == [int(references[i].indices[0]) for i in sure]
