"""What a request or a command may ask of images, as text, with the bounds of each value.

Nothing here needs a model, so that the command line can read it before torch is imported.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MaskKind = Literal["gate", "similarity"]
MaskFormat = Literal["json", "npy", "png", "overlay"]


class PredictQuery(BaseModel):
    """Parameters of a prediction; query parameters of the API and flags of the command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, description="name of the model; the default one otherwise")
    version: str | None = Field(None, description="its version; the latest one otherwise")
    top_k: int = Field(5, ge=1, le=1000, description="how many predictions, best first")
    masks: str = Field(
        "",
        description="comma list of blocks whose masks are returned: `last`, `stage1` to `stage4` "
        "(a stage's last block), a block by name such as `layer4.1`, or `all`",
        examples=["last"],
    )
    groups: str = Field(
        "all",
        description="which groups of each block: `all`, `mean`, `top:N` (the N widest spread), "
        "or ids such as `0,3,5`",
    )
    mask_kind: MaskKind = Field(
        "gate", description="`gate`, what multiplies the features, or `similarity` behind it"
    )
    mask_format: MaskFormat = Field(
        "json",
        description="of masks and attribution: `json` lists, `npy` (base64), `png` (base64, grey), "
        "or `overlay` (base64, a heat map over the picture)",
    )
    attribution: str = Field(
        "",
        description="classes whose evidence is located: `top`, `top:N` (the N best), or a comma "
        "list of labels and of `index:N`",
        examples=["top"],
    )
    input: bool = Field(
        default=False, description="return the picture as the model saw it (base64, PNG)"
    )
