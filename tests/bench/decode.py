"""`bench decode`: our decoding and scaling against Pillow's full decode and resize, on one core."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from service.engines.base import Row
from service.engines.eager import EagerEngine
from service.errors import BadInput
from service.images.contract import ImageLimits, InputContract
from service.images.decode import DecodedImage, decode
from service.images.preprocess import preprocess
from service.images.resize import scaled_size
from service.store.load import LoadedModel
from tests.bench.pictures import jpeg
from tests.bench.ratios import over
from tests.bench.report import Absent, Label, Machine, Report
from tests.bench.rounds import Clock, Contestant, Pace, measure, rows_of, spread_note

IMAGENET = InputContract(size_px=224, fit="crop", shorter_side_px=256)
SIZES = {"jpeg 500x375": (500, 375), "jpeg 12 MP": (4000, 3000)}
LIMITS = ImageLimits(encoded_bytes=2**40, pixels=2**40)  # of pictures of one's own: none
TOP1_BATCH = 16

OURS, PILLOW = "ours", "pillow"
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True)
class DecodeBench:
    """What to measure.

    Attributes:
        pace: of the rounds.
        model: a model whose input is aimed at and whose answers are compared; without one the
            pictures are scaled as for ImageNet.
        folder: pictures to compare on; without one only the made ones are.
    """

    pace: Pace
    model: LoadedModel | None = None
    folder: Path | None = None

    @property
    def contract(self) -> InputContract:
        """What the pictures are scaled to."""
        return IMAGENET if self.model is None else self.model.manifest.input


def bench_decode(wanted: DecodeBench, machine: Machine, clock: Clock) -> Report:
    """Measure both ways on the same pictures, and how far their pixels differ."""
    contract = wanted.contract
    made = {name: jpeg(*size) for name, size in SIZES.items()}
    contestants = [
        Contestant(_label(who, name), functools.partial(way, file, contract))
        for name, file in made.items()
        for who, way in ((OURS, ours), (PILLOW, pillow))
    ]
    seconds = measure(contestants, wanted.pace, clock)
    rows = rows_of(seconds)
    found, absent = _read(wanted.folder)
    pictures = made | found
    pairs = {n: (ours(file, contract), pillow(file, contract)) for n, file in pictures.items()}
    agreement = {name: mean_difference(*pairs[name]) for name in made}
    if found:
        given = [pairs[name] for name in found]
        agreement["given pictures"] = float(np.mean([mean_difference(*pair) for pair in given]))
        if wanted.model is not None:
            agreement["given pictures, same top-1"] = same_top1(wanted.model, given)
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
            spread_note(seconds),
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
    scaled = picture.resize((int(width), int(height)), _FILTERS[contract.interpolation])
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

    def classes(rows: Sequence[Row]) -> NDArray[np.intp]:
        batches = [rows[i : i + TOP1_BATCH] for i in range(0, len(rows), TOP1_BATCH)]
        return np.concatenate(
            [engine.infer(engine.collate(b), frozenset()).logits.argmax(axis=1) for b in batches]
        )

    first, second = (classes(rows) for rows in zip(*pairs, strict=True))
    return float((first == second).mean())


def _label(who: str, name: str) -> Label:
    return Label(who, name, "uint8", 1)


def _read(folder: Path | None) -> tuple[dict[str, bytes], tuple[Absent, ...]]:
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
    return pictures, tuple(absent)
