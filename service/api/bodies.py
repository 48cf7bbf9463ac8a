"""Request bodies: bounded while they are read, and split into encoded images."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator

from fastapi import Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.api.schemas import JsonBody
from service.errors import BadRequest, BodyTooLarge, UnsupportedFormat

ACCEPTED = "image/*, application/octet-stream, multipart/form-data or application/json"


class _InMemoryParser(MultiPartParser):
    """Keeps files in memory: the body is bounded, and a container's disk may be read-only."""

    spool_max_size = 2**40


async def read_images(request: Request, limit_bytes: int, limit_images: int) -> list[bytes]:
    """Read a body of any accepted kind.

    Returns:
        The encoded images, at least one.

    Raises:
        BodyTooLarge: more bytes than `limit_bytes`; the rest is not read.
        UnsupportedFormat: a content type that is not accepted.
        BadRequest: a body that is not what its content type says, no image, or too many.
        ClientDisconnect: the client hung up.
    """
    kind = media_type_of(request)
    body = await read_body(request, limit_bytes)
    if kind == "application/json":
        images = await run_in_threadpool(_from_json, body, limit_images)  # may be megabytes
    elif kind == "multipart/form-data":
        images = await _from_multipart(request, body, limit_images)
    else:
        images = [body]
    if not images:
        raise BadRequest("the request holds no image")
    if len(images) > limit_images:
        raise BadRequest(f"the request holds {len(images)} images, the limit is {limit_images}")
    return images


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
        f"content type {kind!r} is not accepted, send {ACCEPTED} "
        f"(with curl: -H 'Content-Type: image/jpeg')"
    )


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Read a body, and stop as soon as it is longer than the limit.

    Raises:
        BodyTooLarge: it is.
    """
    body = bytearray()
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise BodyTooLarge(f"the body has {announced} bytes, the limit is {limit_bytes}")
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise BodyTooLarge(f"the body has more than {limit_bytes} bytes, which is the limit")
    return bytes(body)


def _from_json(body: bytes, limit_images: int) -> list[bytes]:
    keys = body.count(b'"b64"')  # before a model is built for each
    if keys > limit_images:
        raise BadRequest(f"the request holds {keys} images, the limit is {limit_images}")
    try:
        parsed = JsonBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "body"
        raise BadRequest(f"{place}: {first['msg'].lower()}") from error
    return [_from_base64(image.b64, position) for position, image in enumerate(parsed.images)]


def _from_base64(text: str, position: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"images.{position}.b64: not base64 ({error})") from error


async def _from_multipart(request: Request, body: bytes, limit_images: int) -> list[bytes]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemoryParser(request.headers, chunks(), max_files=limit_images, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"multipart body: {error.message.lower()}") from error
    try:
        return [await _file_of(name, part) for name, part in form.multi_items()]
    finally:
        await form.close()


async def _file_of(name: str, part: UploadFile | str) -> bytes:
    if isinstance(part, str):
        raise BadRequest(f"field {name!r} is not a file (with curl: -F {name}=@FILE)")
    return await part.read()
