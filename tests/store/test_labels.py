"""Names of classes, wherever they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torchvision.models._meta import _IMAGENET_CATEGORIES

from service.errors import BadManifest, MissingFile
from service.store.labels import Labels, choose_labels, labels_in, read_labels

ANIMALS = ("cat", "dog", "gnu")


@pytest.mark.parametrize(
    "value",
    [
        ["cat", "dog", "gnu"],
        ("cat", "dog", "gnu"),
        {"0": "cat", "1": "dog", "2": "gnu"},
        {2: "gnu", 0: "cat", 1: "dog"},
        {"gnu": 2, "cat": 0, "dog": 1},
        {"0": ["n02123045", "cat"], "1": ["n02099601", "dog"], "2": ["n02389026", "gnu"]},
        [["n02123045", "cat"], ["n02099601", "dog"], ["n02389026", "gnu"]],
    ],
)
def test_lists_and_maps_either_way_round_name_classes(value: Any) -> None:
    """As JSON files and checkpoints have them; of several names the last one counts."""
    assert labels_in(value) == ANIMALS


def test_names_that_are_numbers_are_names() -> None:
    """A map whose values are the numbers 0 to K - 1 goes from name to number."""
    assert labels_in({"7": 0, "3": 1}) == ("7", "3")


@pytest.mark.parametrize(
    "value", [None, 3, "cat", [], {}, [1, 2], {"cat": 1, "dog": 2}, {"0": "cat", "2": "dog"}]
)
def test_what_names_no_classes_is_told_from_what_does(value: Any) -> None:
    """Numbers must run from 0 without gaps."""
    assert labels_in(value) is None


def test_a_json_file_is_read(tmp_path: Path) -> None:
    """By its ending."""
    file = tmp_path / "classes.JSON"
    file.write_text(json.dumps({"cat": 0, "dog": 1, "gnu": 2}))

    assert read_labels(str(file), 3) == Labels(ANIMALS, "from `classes.JSON`")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "classes.json is no JSON: Expecting property name"),
        ('{"cat": 1}', "classes.json is neither a list of names nor a map between names and the"),
    ],
)
def test_a_json_file_without_names_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    """One line says what is expected."""
    file = tmp_path / "classes.json"
    file.write_text(content)

    with pytest.raises(BadManifest) as caught:
        read_labels(str(file), 3)

    assert caught.value.message.startswith(reason)


def make_folders(parent: Path, *names: str) -> None:
    """Folders in a folder."""
    for name in names:
        (parent / name).mkdir(parents=True)


def test_a_folder_per_class_is_sorted_as_torchvision_sorts(tmp_path: Path) -> None:
    """By code points; files do not count, and hidden folders only where they fit the classes."""
    make_folders(tmp_path, "dog", "Zebra", "cat", ".cache")
    (tmp_path / "notes.txt").touch()

    assert read_labels(str(tmp_path), 3).names == ("Zebra", "cat", "dog")
    assert read_labels(str(tmp_path), 4).names == (".cache", "Zebra", "cat", "dog")


def test_the_root_of_a_data_set_stands_for_its_training_folder(tmp_path: Path) -> None:
    """Where its folders are splits, the classes lie in them."""
    make_folders(tmp_path, "train/cat", "train/dog", "train/gnu", "val/cat")

    assert read_labels(str(tmp_path), 3) == Labels(ANIMALS, "the folders of `train`, sorted")
    assert read_labels(str(tmp_path), 2).names == ("train", "val")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """It names nothing."""
    with pytest.raises(BadManifest, match="holds no folder, and one for each class is needed"):
        read_labels(str(tmp_path), 3)


def test_the_imagenet_labels_that_ship_are_torchvisions() -> None:
    """All thousand, in the order of published weights."""
    assert list(read_labels("imagenet1k", 1000).names) == _IMAGENET_CATEGORIES


def test_what_is_given_counts_before_what_is_found(tmp_path: Path) -> None:
    """Also where it does not fit, which is refused later with both numbers."""
    file = tmp_path / "labels.txt"
    file.write_text("a\nb\n")

    assert choose_labels(str(file), [("classes", ANIMALS)], 3).names == ("a", "b")


def test_the_first_names_found_that_fit_are_taken() -> None:
    """Others of the same kind, as of another data set, are passed over."""
    found = [("names", ["a"]), ("args.classes", 3), ("class_to_idx", {"x": 0, "y": 1, "z": 2})]

    assert choose_labels(None, found, 3) == Labels(("x", "y", "z"), "class_to_idx")


def test_without_names_a_thousand_classes_are_imagenets_and_others_are_numbered() -> None:
    """No name is invented."""
    assert choose_labels(None, [], 1000).names[207] == "golden retriever"
    assert choose_labels(None, [], 2) == Labels(
        ("class 0", "class 1"), "placeholders, none were given"
    )


def test_labels_that_are_not_there_are_refused() -> None:
    """By their path."""
    with pytest.raises(MissingFile, match=r"^/absent/labels\.json cannot be read: no such file"):
        read_labels("/absent/labels.json", 3)
