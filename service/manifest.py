"""What a model version says of itself: `manifest.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.model.resnet import ResNetSpec, Stem

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)

WEIGHTS_FILE = "model.safetensors"
LABELS_FILE = "labels.txt"
MANIFEST_FILE = "manifest.json"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputContract(_Section):
    """How a picture becomes the model's pixels.

    Attributes:
        size_px: side of the square the model sees.
        fit: `crop` scales the shorter side to `shorter_side_px` and cuts the centre out, as on
            ImageNet; `fit` keeps the whole picture and pads it to a square.
        shorter_side_px: with `crop` only.
        interpolation: how the picture is scaled; always antialiased.
        mean, std: per channel, of values in [0, 1]; applied inside the inference graph.
    """

    size_px: int = Field(ge=1, le=4096)
    fit: Literal["crop", "fit"]
    shorter_side_px: int | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fit == "crop" and (self.shorter_side_px or 0) < self.size_px:
            raise ValueError(
                f"crop needs a shorter_side_px of at least size_px, {self.size_px}, "
                f"not {self.shorter_side_px}"
            )
        if self.fit == "fit" and self.shorter_side_px is not None:
            raise ValueError("shorter_side_px belongs to crop")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}, every channel must be above 0")
        return self


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
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    version: str = Field(pattern=r"^[1-9][0-9]*$", max_length=9)
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
