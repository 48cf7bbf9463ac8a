"""Flags of the command line that are fields of a pydantic model; reading them imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from service.config import RENAMED, Settings, flag_of, variable_of


def add_settings(parser: argparse.ArgumentParser, taken: Sequence[str] = ()) -> None:
    """Give every setting a flag."""
    group = parser.add_argument_group("settings")
    add_fields(group, Settings, variable_of, taken)
    for old in RENAMED:  # the settings refuse them and say the new name
        group.add_argument(
            flag_of(old),
            dest=f"{Settings.__name__}.{old}",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )


def add_fields(
    flags: argparse._ActionsContainer,
    model: type[BaseModel],
    name_of: Callable[[str], str],
    taken: Sequence[str] = (),
) -> None:
    """Give every field a flag; texts reach pydantic as they are, as from the environment."""
    for name, field in model.model_fields.items():
        if name in taken:
            continue
        default = "" if field.default in (None, (), "") else f" (default {field.default})"
        flags.add_argument(
            flag_of(name),
            dest=f"{model.__name__}.{name}",
            metavar=name_of(name),
            default=argparse.SUPPRESS,
            help=f"{field.description}{default}".replace("%", "%%"),
        )


def fields_of(parsed: argparse.Namespace, model: type[BaseModel]) -> dict[str, Any]:
    """What the command line says of a model's fields."""
    prefix = f"{model.__name__}."
    return {
        name.removeprefix(prefix): value
        for name, value in vars(parsed).items()
        if name.startswith(prefix)
    }


def settings_of(parsed: argparse.Namespace) -> Settings:
    """The settings by the command line and, where it has none, by the environment."""
    return Settings(**fields_of(parsed, Settings))
