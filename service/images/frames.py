"""Frames on a pipe between two processes: a head of JSON and a body of bytes."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import orjson

_LENGTHS = struct.Struct("<II")


def write_frame(pipe: BinaryIO, head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Send a frame.

    Raises:
        OSError: nobody reads the pipe any more.
    """
    text = orjson.dumps(head)
    pipe.write(_LENGTHS.pack(len(text), len(body)) + text)
    pipe.write(body)
    pipe.flush()


def read_frame(pipe: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Wait for a frame.

    Raises:
        EOFError: the other side has ended.
    """
    text_bytes, body_bytes = _LENGTHS.unpack(_exactly(pipe, _LENGTHS.size))
    head: dict[str, Any] = orjson.loads(_exactly(pipe, text_bytes))
    return head, _exactly(pipe, body_bytes)


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError("the pipe was closed")
    return content
