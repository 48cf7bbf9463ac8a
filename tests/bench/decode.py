"""`make bench ARGS=decode`: decoding and scaling against Pillow's full decode, on one core."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from service.engines.base import Row
from service.engines.eager import EagerEngine
from service.errors import BadInput
from service.images.contract import ImageLimits, InputContract
from service.images.decode import DecodedImage, decode
from service.images.preprocess import preprocess
from service.images.resize import scaled_size
from service.model.resnet import ResNetSpec
from service.store.load import LoadedModel
from tests.bench.networks import input_of
from tests.bench.pictures import jpeg
from tests.bench.ratios import over
from tests.bench.report import Absent, Label, Report
from tests.bench.rounds import Clock, Contestant, Pace, measure, note_on_rounds

IMAGENET = input_of(ResNetSpec("sge_resnet50"))
SIZES = {"jpeg 500x375": (500, 375), "jpeg 12 MP": (4000, 3000)}
LIMITS = ImageLimits(encoded_bytes=2**40, pixels=2**40)  # of pictures of one's own: none

OURS, PILLOW = "ours", "pillow"
_label = functools.partial(Label, precision="uint8", batch=1)


def bench_decode(
    pace: Pace,
    machine: Mapping[str, Any],
    clock: Clock,
    *,
    model: LoadedModel | None = None,
    folder: Path | None = None,
) -> Report:
    """Measure both ways on the same pictures, and how far their pixels differ.

    A model's input is aimed at and its answers are compared; without one the pictures are scaled
    as for ImageNet. Those in the folder are compared beside the made ones.
    """
    contract = model.manifest.input if model else IMAGENET
    made = {name: jpeg(*size) for name, size in SIZES.items()}
    contestants = [
        Contestant(_label(who, name), functools.partial(way, file, contract))
        for name, file in made.items()
        for who, way in ((OURS, ours), (PILLOW, pillow))
    ]
    rows = measure(contestants, pace, clock)
    found, absent = _read(folder)
    pairs = {
        name: (ours(file, contract), pillow(file, contract))
        for name, file in (made | found).items()
    }
    agreement = {name: mean_difference(*pairs[name]) for name in made}
    if given := [pairs[name] for name in found]:
        agreement["given pictures"] = float(np.mean([mean_difference(*pair) for pair in given]))
        if model is not None:
            agreement["given pictures, same top-1"] = same_top1(model, given)
    return Report(
        machine=machine,
        rows=rows,
        ratios={
            f"decode_over_pillow_{name.replace(' ', '_')}": over(
                rows, _label(OURS, name), _label(PILLOW, name)
            )
            for name in made
        },
        agreement=agreement,
        absent=absent,
        notes=(
            note_on_rounds(rows),
            f"each picture from its bytes to {contract.size_px} px a side, on one thread",
            f"agreement: mean difference of the pixels, of 255; {len(found)} pictures were given",
        ),
    )


def ours(file: bytes, contract: InputContract) -> Row:
    """Decode and scale as the service does."""
    return preprocess(decode(file, LIMITS, contract), contract)


def pillow(file: bytes, contract: InputContract) -> Row:
    """Decode every pixel, scale the whole picture, cut the square out: (3, size, size) uint8."""
    picture = Image.open(BytesIO(file)).convert("RGB")
    if contract.fit == "fit":
        return preprocess(DecodedImage.whole(picture), contract)
    width, height = scaled_size(*picture.size, contract)
    filter_ = Image.Resampling[contract.interpolation.upper()]
    scaled = picture.resize((int(width), int(height)), filter_)
    side = contract.size_px
    left, top = round((width - side) / 2), round((height - side) / 2)
    square = np.asarray(scaled.crop((left, top, left + side, top + side)))
    return square.transpose(2, 0, 1).copy()


def mean_difference(one: Row, other: Row) -> float:
    """Mean absolute difference of two pictures' values, of 255."""
    return float(np.abs(one.astype(np.int16) - other).mean())


def same_top1(model: LoadedModel, pairs: Sequence[tuple[Row, Row]]) -> float:
    """The share of pictures whose first class is the same, whichever way they were decoded."""
    engine = EagerEngine(model, torch.device("cpu"), "fp32")
    engine.load()

    def first_class(row: Row) -> int:
        return int(engine.infer(engine.collate([row]), frozenset()).logits.argmax())

    return float(np.mean([first_class(one) == first_class(other) for one, other in pairs]))


def _read(folder: Path | None) -> tuple[dict[str, bytes], list[Absent]]:
    """The pictures of a folder, and which of its files are none."""
    pictures: dict[str, bytes] = {}
    absent: list[Absent] = []
    for path in sorted(folder.iterdir()) if folder else []:
        file = path.read_bytes() if path.is_file() else b""
        try:
            decode(file, LIMITS)
        except BadInput as error:
            absent.append(Absent(path.name, str(error)))
        else:
            pictures[path.name] = file
    return pictures, absent
