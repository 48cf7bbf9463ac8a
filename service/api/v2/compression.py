"""Content encodings of request bodies."""

from __future__ import annotations

import zlib

from service.errors import BadRequest, BodyTooLarge


def inflate(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Undo a body's content encoding.

    Raises:
        BodyTooLarge: it holds more than the limit.
        BadRequest: another encoding than gzip and deflate, or a damaged body.
    """
    if encoding.lower() not in ("gzip", "deflate"):
        raise BadRequest(f"content encoding {encoding!r} is not accepted, send gzip or deflate")
    either = 32 + zlib.MAX_WBITS  # zlib knows which of the two it is
    decompressor = zlib.decompressobj(either)
    try:
        whole = decompressor.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not {encoding} ({error})") from error
    if len(whole) > limit_bytes:
        raise BodyTooLarge(f"the body inflates to more than {limit_bytes} bytes, the limit")
    if not decompressor.eof or decompressor.unused_data:
        raise BadRequest(f"the body is not one whole {encoding} stream")
    return whole
