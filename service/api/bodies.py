"""Request bodies: bounded while they are read, and split into encoded images."""

from __future__ import annotations

import asyncio
import functools
import io
import reprlib
from dataclasses import dataclass
from typing import Self

from fastapi import Request

from service.api.cancellation import off_the_loop
from service.api.compression import inflate, read_coding
from service.api.forms import QUICK_BYTES as QUICK_FORM_BYTES
from service.api.forms import split_form
from service.api.json_cuts import ROOM_VALUES, CutJson, cut_json
from service.api.parsing import ParsingLanes
from service.api.schemas import JsonBody
from service.config import Settings
from service.errors import BadRequest, BodyTooLarge, SlowBody, UnsupportedFormat
from service.serving.admission import Permit

ACCEPTED = "image/*, application/octet-stream, multipart/form-data or application/json"

LONGEST_LENGTH = 18  # digits of an announced length; no limit has as many


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What one request's body may be: its bytes, its images, and how long it may take to come."""

    size_bytes: int
    images: int
    timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits that the operator set."""
        return cls(settings.body_limit_bytes, settings.images_limit, settings.body_timeout_s)

    def bound(self, images: int) -> None:
        """Refuse a request with no image or with too many.

        Raises:
            BadRequest: it is one.
        """
        if not images:
            raise BadRequest("the request holds no image")
        if images > self.images:
            raise BadRequest(f"the request holds {images} images, the limit is {self.images}")


async def read_images(request: Request, limits: BodyLimits, permit: Permit) -> list[bytes]:
    """Read a body of any accepted kind.

    Args:
        request: whose body has not been read.
        limits: of the body.
        permit: the request's; it grows by the body's bytes while they come.

    Returns:
        The encoded images, at least one.

    Raises:
        BodyTooLarge: more bytes than allowed; the rest is not read.
        SlowBody: it took too long to arrive.
        Overloaded: no room for it beside the bodies that are inside.
        UnsupportedFormat: a content type that is not accepted.
        BadRequest: a body that is not what its content type says, no image, or too many.
        ClientDisconnect: the client hung up.
    """
    kind = media_type_of(request)
    body = await receive_body(request, limits, permit)
    lanes: ParsingLanes = request.app.state.lanes
    if kind == "application/json":
        images = await lanes.parse(lambda: _from_json(body, limits.images), len(body))
    elif kind == "multipart/form-data":
        split = functools.partial(split_form, request.headers["content-type"], body, limits.images)
        images = await lanes.parse(split, len(body), QUICK_FORM_BYTES)
    else:
        images = [body]
    limits.bound(len(images))
    return images


async def receive_body(request: Request, limits: BodyLimits, permit: Permit) -> bytes:
    """Read a body whole and undo its content encoding, as long as it is within its limits.

    Raises:
        BodyTooLarge: more bytes than allowed, as they come or inflated; the rest is not read.
        SlowBody: it took too long to arrive.
        Overloaded: no room for it beside the bodies that are inside.
        UnsupportedEncoding: a content encoding that is not accepted.
        BadRequest: it is not what its content encoding says.
        ClientDisconnect: the client hung up.
    """
    coding = read_coding(request.headers.getlist("content-encoding"))
    try:
        async with asyncio.timeout(limits.timeout_s):
            body = await _read_body(request, limits.size_bytes, permit)
    except TimeoutError as error:
        raise SlowBody(
            f"the body has not come within {limits.timeout_s:g} s, which is the limit"
        ) from error
    return body if coding is None else await _inflated(body, coding, limits.size_bytes, permit)


def media_type_of(request: Request) -> str:
    """The content type without its parameters; bytes without one are taken for an image.

    Raises:
        UnsupportedFormat: a content type that is not accepted.
    """
    sent = request.headers.get("content-type", "application/octet-stream")
    kind = sent.partition(";")[0].strip().lower()
    known = ("application/octet-stream", "multipart/form-data", "application/json")
    if kind in known or kind.startswith("image/"):
        return kind
    raise UnsupportedFormat(
        f"content type {reprlib.repr(kind)} is not accepted, send {ACCEPTED} "
        f"(with curl: -H 'Content-Type: image/jpeg')"
    )


async def _read_body(request: Request, limit_bytes: int, permit: Permit) -> bytes:
    """Read a body, and stop as soon as it is longer than the limit.

    The announced length refuses early; only bytes that have come are counted, so that nobody
    can reserve room by an announcement.

    Raises:
        BodyTooLarge: it is.
        Overloaded: no room for it beside the bodies that are inside.
    """
    body = io.BytesIO()  # which gives its bytes without a copy
    announced = request.headers.get("content-length", "")[:LONGEST_LENGTH]
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise BodyTooLarge(f"the body has {announced} bytes, the limit is {limit_bytes}")
    if announced.isdecimal():
        permit.require_room(int(announced))
    async for chunk in request.stream():
        if body.tell() + len(chunk) > limit_bytes:
            raise BodyTooLarge(f"the body has more than {limit_bytes} bytes, which is the limit")
        permit.hold(len(chunk))
        body.write(chunk)
    return body.getvalue()


async def _inflated(body: bytes, coding: str, limit_bytes: int, permit: Permit) -> bytes:
    whole = io.BytesIO()
    chunks = inflate(body, coding)
    while chunk := await off_the_loop(next, chunks, b""):
        if whole.tell() + len(chunk) > limit_bytes:
            raise BodyTooLarge(f"the body inflates to more than {limit_bytes} bytes, the limit")
        permit.hold(len(chunk))
        whole.write(chunk)
    return whole.getvalue()


def _from_json(body: bytes, limit_images: int) -> list[bytes]:
    cut = cut_json(body, len(body), limit_images, ROOM_VALUES + 2 * limit_images)
    images = cut.parse(JsonBody).images
    if len(images) > limit_images:  # before they are decoded
        raise BadRequest(f"the request holds {len(images)} images, the limit is {limit_images}")
    files = [_from_base64(cut, image.b64, place) for place, image in enumerate(images)]
    cut.require_all_read()
    return files


def _from_base64(cut: CutJson, text: str, position: int) -> bytes:
    try:
        return cut.read_base64(text)
    except ValueError as error:
        raise BadRequest(f"images.{position}.b64: not base64 ({error})") from error
