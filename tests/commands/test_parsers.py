"""What the flags of commands that look at pictures come to."""

from __future__ import annotations

import pytest

from service.commands.parsers import engines_of, settings_of_each
from service.config import Precision


def test_engines_are_named_once_each() -> None:
    """`auto`, which answers by eager until something is compiled, is eager."""
    assert engines_of("int8, auto,eager", "compiled") == ["int8", "eager"]
    assert engines_of(None, "auto") == ["eager"]


@pytest.mark.parametrize(
    ("engines", "asked", "precisions"),
    [
        (["eager"], "auto", ["fp32"]),
        (["eager"], "bf16", ["bf16"]),
        (["compiled"], "auto", ["auto"]),
        (["int8"], "fp16", ["fp16"]),  # which the engine refuses
        (["eager", "compiled", "int8"], "auto", ["fp32", "auto", "auto"]),
        (["compiled", "int8", "eager"], "bf16", ["bf16", "auto", "fp32"]),
    ],
)
def test_what_others_are_compared_with_is_the_trained_model(
    engines: list[str], asked: Precision, precisions: list[str]
) -> None:
    """Eager has fp32 beside others, and by itself unless a precision is asked for."""
    assert [of["precision"] for of in settings_of_each(engines, asked)] == precisions
