"""What a model version says of itself: `manifest.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.config import LONGEST_NAME, LONGEST_VERSION, NAME_PATTERN, VERSION_PATTERN
from service.images.contract import InputContract
from service.model.resnet import ResNetSpec, Stem

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hashes(_Section):
    """SHA-256 of the version's files, in lower-case hexadecimal."""

    weights: Sha256
    labels: Sha256


class Manifest(_Section):
    """One model version.

    Attributes:
        initial_bias: beta of SGE before training; the weights hold the trained one.
        sge_inserted: SGE was added at import to a network trained without it, so that the
            function stayed the same: its gates are constant, only its similarity says something.
        metrics: what was measured on what, as free key and value pairs.
    """

    schema_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME)
    version: str = Field(pattern=VERSION_PATTERN, max_length=LONGEST_VERSION)
    architecture: str
    stem: Stem = "imagenet"
    groups: int
    classes: int
    initial_bias: float = 1.0
    input: InputContract
    sha256: Hashes
    sge_inserted: bool = False
    licence: str
    source: str
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def spec(self) -> ResNetSpec:
        """The network that the manifest describes."""
        return ResNetSpec(
            architecture=self.architecture,
            classes=self.classes,
            groups=self.groups,
            initial_bias=self.initial_bias,
            input_px=self.input.size_px,
            stem=self.stem,
        )

    @model_validator(mode="after")
    def _describes_a_network(self) -> Self:
        self.spec.check()
        return self
