"""Bodies of the native API, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from service.results.query import MaskKind


class JsonImage(BaseModel):
    """One image in a JSON body."""

    model_config = ConfigDict(extra="forbid")

    b64: str = Field(
        description="the image file's bytes in base64 of either alphabet; a data URL, line breaks "
        "and missing padding are understood"
    )


class JsonBody(BaseModel):
    """A request with images as base64."""

    model_config = ConfigDict(extra="forbid")

    images: Annotated[list[JsonImage], Field(min_length=1), FailFast()]


class PredictionBody(BaseModel):
    """One class and its probability."""

    index: int
    label: str
    score: float = Field(description="softmax over all classes")


class MaskBody(BaseModel):
    """The masks of one block: `data` or, for pictures, `images`."""

    block: str
    kind: MaskKind
    height: int
    width: int
    groups: list[int] | Literal["mean"]
    data: list[list[list[float]]] | str | None = Field(
        None, description="`json`: (groups, height, width); `npy`: base64 of a .npy file"
    )
    images: list[str] | None = Field(None, description="base64 PNG files, one per group")


class ClassEvidenceBody(BaseModel):
    """A class of an attribution."""

    index: int
    label: str
    logit: float = Field(description="the mean of its map, and its bias")
    bias: float


class AttributionBody(BaseModel):
    """Where the evidence for classes lies: `data` or, for pictures, `images`."""

    height: int
    width: int
    classes: list[ClassEvidenceBody] = Field(description="in the order of the maps")
    data: list[list[list[float]]] | str | None = Field(
        None, description="`json`: (classes, height, width); `npy`: base64 of a .npy file"
    )
    images: list[str] | None = Field(None, description="base64 PNG files, one per class")


class ResultBody(BaseModel):
    """What one image gets."""

    predictions: list[PredictionBody]
    masks: list[MaskBody] | None = Field(None, description="present when masks were asked for")
    attribution: AttributionBody | None = Field(None, description="present when it was asked for")
    input: str | None = Field(
        None, description="base64 of a PNG file: the picture as the model saw it, where asked for"
    )


class ModelRef(BaseModel):
    """A model version."""

    name: str
    version: str


class TimingBody(BaseModel):
    """Milliseconds; of several images the longest."""

    decode: float
    queue: float
    infer: float
    postprocess: float
    total: float


class PredictBody(BaseModel):
    """The answer to a prediction."""

    model: ModelRef
    request_id: str
    results: list[ResultBody] = Field(description="one per image, in the request's order")
    timing_ms: TimingBody
    batch_size: int = Field(description="images that ran together; of several batches the largest")
    engine: str


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class ModelSummary(BaseModel):
    """A model in the list of models."""

    name: str
    versions: list[str]
    default: bool


class ModelsBody(BaseModel):
    """The models being served."""

    models: list[ModelSummary]


class BlockBody(BaseModel):
    """A block that has masks."""

    name: str
    groups: int
    height: int
    width: int


class EngineBody(BaseModel):
    """The engine that serves a model."""

    name: str
    precision: str
    device: str
    tier: str = Field(description="loading, first, final, fallback or restarting")
    fallback_reason: str | None


class ReadinessBody(BaseModel):
    """Whether requests may be sent here, and where each model stands."""

    ready: bool
    draining: bool
    models: dict[str, EngineBody] = Field(description="by name and version")
    broken: dict[str, str] = Field(description="why a version cannot be served")


class ModelBody(BaseModel):
    """One model version in full."""

    name: str
    version: str
    versions: list[str]
    architecture: str
    labels: list[str]
    input: dict[str, Any] = Field(description="how a picture becomes the model's pixels")
    blocks: list[BlockBody]
    engine: EngineBody
    max_batch: int
    sge_inserted: bool
    licence: str
    source: str
    metrics: dict[str, Any] = Field(description="what was measured on what")
