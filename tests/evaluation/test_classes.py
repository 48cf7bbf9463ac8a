"""Which class a folder's pictures are of."""

from __future__ import annotations

import pytest

from service.errors import BadSetting
from service.evaluation.classes import match_folders, read_mapping

LABELS = ("T-shirt/top", "Ankle boot", "Bag", "crane", "crane", "7", "Café")


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("Bag", 2),
        ("bag", 2),
        ("ankle_boot", 1),
        ("ANKLE  BOOT", 1),
        ("t-shirt_top", 0),
        ("T shirt top", 0),
        ("7", 5),
        ("cafe\u0301", 6),  # as macOS writes it
    ],
)
def test_a_folder_is_the_class_whose_label_it_is_like(folder: str, index: int) -> None:
    """Case and what stands between words do not count."""
    assert match_folders([folder], LABELS, {}) == {folder: index}


def test_an_exact_label_goes_before_those_that_are_like_it() -> None:
    """Where labels differ by their case alone, names have to be exact."""
    assert match_folders(["us", "US"], ["US", "us"], {}) == {"us": 1, "US": 0}
    with pytest.raises(BadSetting, match=r"2 labels are like 'Us': 'US' \(0\), 'us' \(1\)"):
        match_folders(["Us"], ["US", "us"], {})


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("ankel boots", "ankel boots: no label 'ankel boots', nearest are 'Ankle boot'"),
        ("xyzzy", "xyzzy: no label 'xyzzy', none is near"),
        ("crane", r"crane: 2 labels are like 'crane': 'crane' \(3\), 'crane' \(4\)"),
        ("2", "2: no label '2'"),  # sorted as text, 10 comes before 2: no index is guessed
    ],
)
def test_a_folder_that_is_no_class_is_refused_with_what_is_near(folder: str, message: str) -> None:
    """All of them are listed, and how to mend it."""
    with pytest.raises(BadSetting, match=message) as refused:
        match_folders(["Bag", folder], LABELS, {})

    assert str(refused.value).startswith("1 of 2 folders are not classes of the model")
    assert "--classes FILE" in str(refused.value)


def test_of_very_many_folders_a_refusal_tells_the_first() -> None:
    """A thousand lines help nobody."""
    with pytest.raises(BadSetting, match=r"and 5 more$"):
        match_folders([f"n{number}" for number in range(25)], LABELS, {})


def test_a_mapping_says_what_a_folder_is() -> None:
    """A label or an index; folders that it does not name go by their own."""
    mapped: dict[str, str | int] = {"n02104": "Bag", "n1": 4, "n2": "3", "x": "7", "absent": "Bag"}

    found = match_folders(["n02104", "n1", "n2", "x", "bag"], LABELS, mapped)

    assert found == {"n02104": 2, "n1": 4, "n2": 3, "x": 5, "bag": 2}


@pytest.mark.parametrize("named", [7, -1, "99", "9" * 5000, "Bags and more"])
def test_a_mapping_to_no_class_is_refused(named: str | int) -> None:
    """An index out of range, a label that is none."""
    with pytest.raises(BadSetting, match=r"a: no (class|label)"):
        match_folders(["a"], LABELS, {"a": named})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.json", b'{"a b": "Bag", "n1": 4}'),
        ("classes.csv", b"folder,label\na b,Bag\nn1,4\n"),
        ("classes.csv", b'\xef\xbb\xbf"a b",Bag\r\n\r\nn1, 4\r\n'),
    ],
)
def test_a_mapping_is_json_or_csv(name: str, content: bytes) -> None:
    """With a heading or without, with what spreadsheets put before and behind."""
    mapped = read_mapping(name, content)

    assert {folder: str(named) for folder, named in mapped.items()} == {"a b": "Bag", "n1": "4"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.json", b"[1]", "no JSON object"),
        ("c.json", b'{"a": true}', "'a' has True, it must be a label or an index"),
        ("c.json", b"{", "cannot be used: Expecting"),
        ("c.json", b"[" * 100_000, "cannot be used"),
        ("c.csv", b"a,b,c\n", "line 1 has 3 columns"),
        ("c.csv", b"\xff\n", "cannot be used"),
        ("a.json", b'{"a": "x", "b": "y", "a": "y"}', "'a' is in it twice"),
        ("a.csv", b"folder,label\na,x\nb,y\na,x\n", "line 4: 'a' is in it twice"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_named(name: str, content: bytes, message: str) -> None:
    """With the reason."""
    with pytest.raises(BadSetting, match=message):
        read_mapping(name, content)
