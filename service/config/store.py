"""Settings of the store: what is served of it, under which name, and when it is looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from service.config.values import (
    LONGEST_NAME,
    LONGEST_TIMEOUT_S,
    NAME_PATTERN,
    CommaList,
    UserPath,
    is_name,
    is_version,
)

VersionPolicyName = Literal["latest", "all"]


def _require_models(value: tuple[str, ...]) -> tuple[str, ...]:
    for entry in value:
        name, slash, version = entry.partition("/")
        if not is_name(name) or (slash and not is_version(version)):
            raise ValueError(f"{entry!r} is not of the form NAME or NAME/VERSION")
    return value


def _require_shares(value: tuple[str, ...]) -> tuple[str, ...]:
    shares = shares_of(value)
    if len(shares) != len(value):
        raise ValueError("a version has one share")
    for name in {key.partition("/")[0] for key in shares}:
        if not sum(share for key, share in shares.items() if key.partition("/")[0] == name):
            raise ValueError(f"no version of {name} has a share above 0")
    return value


def shares_of(weights: tuple[str, ...]) -> dict[str, float]:
    """The share of each version, by `name/version`.

    Raises:
        ValueError: an entry is not of the form, or a share is not a number from 0 on.
    """
    shares = {}
    for entry in weights:
        key, _, text = entry.partition("=")
        name, _, version = key.partition("/")
        share = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
        if not is_name(name) or not is_version(version) or share < 0:
            raise ValueError(f"{entry!r} is not of the form NAME/VERSION=SHARE")
        shares[key] = share
    return shares


Models = Annotated[CommaList, AfterValidator(_require_models)]
Shares = Annotated[CommaList, AfterValidator(_require_shares)]


class StoreSettings(BaseModel):
    """What is served of a store."""

    model_store: UserPath = Field(
        Path("model_store"),
        description="folder of the models: NAME/VERSION/ for each, the versions of one, or one "
        "version's files",
    )
    models: Models = Field(
        (),
        description="comma list of name or name/version to serve, the latter whatever the policy "
        "says; empty serves every model",
    )
    default_model: str | None = Field(
        None, description="model of requests that name none; needed where several are served"
    )
    model_name: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        max_length=LONGEST_NAME,
        description="name by which the store's one model answers, whatever it is called there",
    )
    version_policy: VersionPolicyName = Field(
        "latest",
        description="latest or all: which versions of a model are served; latest is the newest "
        "that can be",
    )
    version_weights: Shares = Field(
        (),
        description="comma list of name/version=share: of the requests that name no version, each "
        "gets its share; a model that is named here is served in these versions",
    )
    store_poll_s: float | None = Field(
        None,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="how often the store is looked at for versions that came or went; without it "
        "nobody looks, and versions change when they are told to",
    )
