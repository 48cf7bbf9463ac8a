"""What is sent: kinds of requests, as bytes made once, and how often each one comes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.sample_images import Picture, encode, gradient, noise

PREDICT = "/v1/predict"
NO_JSON = "Inference-Header-Content-Length"
BOUNDARY = "load-test-boundary"
ROUGHNESS = 0.1  # share of noise: a JPEG of the result weighs about what a photograph does


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request.

    Attributes:
        name: in tables.
        weight: how often it comes, against the other weights.
        path: with its query.
        content_type: of the body.
        body: what is posted.
        status: the one right answer; a broken file is to be refused as such.
        images: in the body.
    """

    name: str
    weight: int
    path: str
    content_type: str
    body: bytes
    status: int = 200
    images: int = 1

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the body; in the Open Inference Protocol, that it is all of a file."""
        is_v2 = self.path.startswith("/v2/")
        return {"Content-Type": self.content_type} | ({NO_JSON: "0"} if is_v2 else {})


def make_kinds(model: str) -> tuple[Kind, ...]:
    """Make the mix: four sizes, several files at once, masks, and files that are none.

    Args:
        model: name of the service's default model, which the Open Inference Protocol has to name.
    """
    small = encode(_photograph(28, 28), "PNG")
    canvas = encode(_photograph(260, 200), "PNG")
    photo = encode(_photograph(375, 500), "JPEG", quality=85)
    large = encode(_photograph(1500, 2000), "JPEG", quality=85)
    masks, overlay = f"{PREDICT}?masks=last&groups=mean", f"{PREDICT}?masks=last&groups=top:4"
    return (
        Kind("small", 3, PREDICT, "image/png", small),
        Kind("canvas", 3, PREDICT, "image/png", canvas),
        Kind("photo", 4, PREDICT, "image/jpeg", photo),
        Kind("photo v2", 2, f"/v2/models/{model}-image/infer", _RAW, photo),
        Kind("large", 1, PREDICT, "image/jpeg", large),
        Kind("masks", 3, masks, "image/jpeg", photo),
        Kind("masks v2", 1, f"/v2/models/{model}-explain/infer", _RAW, photo),
        Kind("overlay", 1, f"{overlay}&mask_format=overlay", "image/jpeg", photo),
        Kind("several", 1, PREDICT, _FORM, _form([small, canvas, photo, photo]), images=4),
        Kind("broken", 1, PREDICT, "image/jpeg", photo[: len(photo) // 2], status=400),
        Kind("text", 1, PREDICT, "text/plain", b"not a picture", status=415),
        Kind("broken v2", 1, f"/v2/models/{model}-image/infer", _RAW, photo[:100], status=400),
    )


def single_images(kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """The kinds of an open-loop run: an answer each, and as many requests as images."""
    return tuple(kind for kind in kinds if kind.status == 200 and kind.images == 1)


def choose(kinds: Sequence[Kind], count: int, seed: int) -> list[Kind]:
    """Draw a sequence of kinds by their weights; the same one for the same seed."""
    weights = [kind.weight for kind in kinds]
    return random.Random(seed).choices(kinds, weights, k=count)  # noqa: S311  # no secret


def _photograph(height: int, width: int) -> Picture:
    """A smooth picture with some grain, (H, W, 3) uint8."""
    smooth, grain = gradient(height, width), noise(height, width)
    picture: Picture = (smooth * (1 - ROUGHNESS) + grain * ROUGHNESS).astype("uint8")
    return picture


_RAW = "application/octet-stream"
_FORM = f"multipart/form-data; boundary={BOUNDARY}"


def _form(files: Sequence[bytes]) -> bytes:
    """The body of a form that holds the files."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{position}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for position, content in enumerate(files)
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
