"""Which model a name and a version mean."""

from __future__ import annotations

import pytest

from service.errors import BadSetting, UnknownModel
from service.serving.choice import choose_default, choose_model
from tests.running import tiny_model

MODELS = [tiny_model("a", version) for version in ("9", "10", "2")] + [tiny_model("b")]


@pytest.mark.parametrize(
    ("name", "version", "key"),
    [("a", None, "a/10"), ("a", "2", "a/2"), (None, None, "b/1"), (None, "1", "b/1")],
)
def test_the_default_and_the_latest_are_meant_unless_it_is_said(
    name: str | None, version: str | None, key: str
) -> None:
    """Versions count as numbers."""
    assert choose_model(MODELS, "b", name, version).key == key


@pytest.mark.parametrize(
    ("default", "name", "version", "told"),
    [
        (None, None, None, "name a model, served are: a, b"),
        ("b", "c", None, "no model 'c', served are: a, b"),
        ("b", "a", "3", "no version '3' of a, served are: 2, 9, 10"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    default: str | None, name: str | None, version: str | None, told: str
) -> None:
    """Whoever asks learns what to ask for."""
    with pytest.raises(UnknownModel, match=told):
        choose_model(MODELS, default, name, version)


def test_the_only_model_is_the_default() -> None:
    """Of several none is, unless the setting names it; what it names has to be there."""
    assert choose_default(MODELS[:3], None) == "a"
    assert choose_default(MODELS, None) is None
    assert choose_default(MODELS, "b") == "b"
    with pytest.raises(BadSetting, match="SGE_DEFAULT_MODEL=c is not served, served are: a, b"):
        choose_default(MODELS, "c")
