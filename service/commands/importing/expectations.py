"""Pictures whose class is known, classified before a model is published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from service.commands.importing.request import split_expectation
from service.engines.eager import EagerEngine
from service.errors import BadCheckpoint, BadInput, BadRequest
from service.images.contract import ImageLimits, InputContract
from service.images.decode import DecodedImage, decode
from service.images.preprocess import preprocess
from service.results.predictions import Prediction, scores_of, top_k
from service.store.files import read_file
from service.store.load import LoadedModel

SHOWN = 3  # of the classes that were answered


@dataclass(frozen=True, slots=True)
class Expectation:
    """A picture and the classes of which one is expected: two may have one label."""

    picture: Path
    said: str
    indices: tuple[int, ...]


def read_expectation(text: str, labels: tuple[str, ...]) -> Expectation:
    """Read `PICTURE=CLASS`; a class is a label, in any case, else an index.

    Raises:
        BadRequest: it is not of that form, or no class is meant.
    """
    picture, said = split_expectation(text)
    for fold in (str, str.casefold):
        indices = tuple(i for i, label in enumerate(labels) if fold(label) == fold(said))
        if indices:
            return Expectation(picture, said, indices)
    if said.isdecimal() and int(said) < len(labels):
        return Expectation(picture, said, (int(said),))
    raise BadRequest(
        f"--expect {text!r}: {said!r} is no label and no index from 0 to {len(labels) - 1}"
    )


def check_expectations(
    model: LoadedModel, expectations: list[Expectation], limits: ImageLimits
) -> list[str]:
    """Classify each picture as the service does, and say what was answered.

    Args:
        model: need not be in a store.
        expectations: what it has to answer.
        limits: of a picture.

    Raises:
        MissingFile: a picture cannot be read.
        BadInput: it cannot be decoded; it is named.
        BadCheckpoint: the model answers something else; every such answer is told.
    """
    if not expectations:
        return []
    logits = _logits_of(model, [expectation.picture for expectation in expectations], limits)
    answers = [
        _describe(expectation, row, model.labels)
        for expectation, row in zip(expectations, logits, strict=True)
    ]
    wrong = [
        answer
        for answer, expectation, row in zip(answers, expectations, logits, strict=True)
        if int(row.argmax()) not in expectation.indices
    ]
    if wrong:
        raise BadCheckpoint(f"not what is expected: {'; '.join(wrong)}")
    return answers


def _logits_of(
    model: LoadedModel, pictures: list[Path], limits: ImageLimits
) -> NDArray[np.float32]:
    contract = model.manifest.input
    rows = [preprocess(_decoded(path, limits, contract), contract) for path in pictures]
    engine = EagerEngine(model, torch.device("cpu"), "fp32")
    engine.load()
    return np.concatenate([engine.infer(engine.collate([row]), frozenset()).logits for row in rows])


def _decoded(path: Path, limits: ImageLimits, contract: InputContract) -> DecodedImage:
    try:
        return decode(read_file(path), limits, contract)
    except BadInput as error:
        raise type(error)(f"{path}: {error.message}") from error


def _describe(
    expectation: Expectation, logits: NDArray[np.float32], labels: tuple[str, ...]
) -> str:
    best = ", ".join(_named(prediction) for prediction in top_k(logits, SHOWN, labels))
    index = expectation.indices[0]
    score = float(scores_of(logits)[list(expectation.indices)].max())
    rank = int((logits > logits[list(expectation.indices)].max()).sum()) + 1
    expected = f"{labels[index]} is number {rank} with {score:.1%}"
    return f"{expectation.picture}: {best}" + (f"; {expected}" if rank > 1 else "")


def _named(prediction: Prediction) -> str:
    return f"{prediction.label} {prediction.score:.1%}"
