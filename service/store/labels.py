"""Names of classes: from a list, a JSON file, a folder per class, a checkpoint, or ImageNet's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import BadManifest, MissingFile
from service.store.files import decode_labels, describe_os_error, read_file

IMAGENET = "imagenet1k"
IMAGENET_CLASSES = 1000
PLACEHOLDERS = "placeholders, none were given"
IMAGENET_FILE = Path(__file__).with_name("imagenet1k.txt")

# Under these names training scripts keep the names of their classes, or a map of them.
LABEL_NAMES = (
    *("class_to_idx", "idx_to_class", "id2label", "label2id", "label_names", "class_names"),
    *("classes", "CLASSES", "categories", "labels", "names"),
)
_SPLITS = {"train", "training", "val", "valid", "validation", "test"}


@dataclass(frozen=True, slots=True)
class Labels:
    """One name a class, in the order of the logits, and where they come from."""

    names: tuple[str, ...]
    origin: str


def choose_labels(given: str | None, found: Iterable[tuple[str, Any]], classes: int) -> Labels:
    """Choose names: those given, else those found, else ImageNet's or numbers.

    Args:
        given: `imagenet1k`, a folder with a folder per class, or a file: JSON, or one name a line.
        found: where each of a checkpoint's own names lies, and what lies there. The first that
            fits the classes is taken, whatever it may hold.
        classes: how many there are.

    Raises:
        MissingFile: what is given cannot be read.
        BadManifest: what is given names no classes. How many it names is not compared.
    """
    if given is not None:
        return read_labels(given, classes)
    for origin, value in found:
        names = labels_in(value)
        if names is not None and len(names) == classes:
            return Labels(names, origin)
    if classes == IMAGENET_CLASSES:
        taken = read_labels(IMAGENET, classes)
        return Labels(taken.names, f"{taken.origin}: there are as many classes")
    return Labels(tuple(f"class {index}" for index in range(classes)), PLACEHOLDERS)


def read_labels(given: str, classes: int) -> Labels:
    """Read the names that a person gives; see `choose_labels`."""
    if given == IMAGENET:
        names = decode_labels(read_file(IMAGENET_FILE))
        return Labels(names, "ImageNet-1k, as torchvision names them")
    path = Path(given)
    if path.is_dir():
        return _of_folder(path, classes)
    if path.suffix.lower() != ".json":
        return Labels(decode_labels(read_file(path)), f"from `{path.name}`")
    listed = labels_in(_json_of(path))
    if listed is None:
        raise BadManifest(
            f"{path.name} is neither a list of names nor a map between names and the numbers "
            "0, 1, 2 and so on"
        )
    return Labels(listed, f"from `{path.name}`")


def labels_in(value: object) -> tuple[str, ...] | None:
    """The names in a list, or in a map either way round; None where it is neither.

    `["cat", "dog"]`, `{"0": "cat", "1": "dog"}` and `{"cat": 0, "dog": 1}` name the same classes,
    as `{"0": ["n02123045", "cat"], ...}` does: of several names of a class the last one counts.
    """
    if isinstance(value, Mapping):
        by_number = _by_number(value)
        value = None if by_number is None else [by_number[index] for index in range(len(by_number))]
    if not isinstance(value, list | tuple) or not value:
        return None
    names = [entry[-1] if isinstance(entry, list | tuple) and entry else entry for entry in value]
    return tuple(names) if all(isinstance(name, str) for name in names) else None


def _by_number(mapping: Mapping[Any, Any]) -> dict[int, Any] | None:
    """The values of a map by the numbers 0 to K - 1, which are its values or its keys."""
    turned = [(value, key) for key, value in mapping.items() if isinstance(value, int)]
    pairs = turned if len(turned) == len(mapping) else list(mapping.items())
    numbers = {number: name for key, name in pairs if (number := _number(key)) is not None}
    return numbers if sorted(numbers) == list(range(len(mapping))) else None


def _number(key: object) -> int | None:
    if isinstance(key, str) and key.isdecimal() and len(key) < 7:
        return int(key)
    return key if isinstance(key, int) else None


def _json_of(path: Path) -> Any:
    try:
        return json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{path.name} is no JSON: {error}") from error


def _of_folder(folder: Path, classes: int) -> Labels:
    """The names of the folders in a folder, sorted as torchvision's ImageFolder sorts them."""
    names = _folders_in(folder)
    splits = [name for name in names if name in _SPLITS]
    if splits and len(splits) == len(names) != classes:  # a data set's root
        inner = folder / min(splits, key=lambda name: not name.startswith("train"))
        return _of_folder(inner, classes)
    visible = tuple(name for name in names if not name.startswith("."))
    chosen = names if len(names) == classes else visible
    if not chosen:
        raise BadManifest(f"{folder} holds no folder, and one for each class is needed")
    return Labels(chosen, f"the folders of `{folder.name}`, sorted")


def _folders_in(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    except OSError as error:
        raise MissingFile(f"{folder} cannot be listed: {describe_os_error(error)}") from error
