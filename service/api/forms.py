"""Forms of files, split: `multipart/form-data`, bounded in what is not a file.

The parser goes through what is around files byte by byte, at a microsecond each.
"""

from __future__ import annotations

import io
from typing import NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import BadRequest

QUICK_BYTES = 8_192  # of a form: 8 ms at worst; more is not worth the event loop's time
STEP_BYTES = 16_384  # parsed at a time
COUNTED_BYTES = 1_000_000  # at a time, less than 1 ms
ROOM_BYTES = 16_384  # around the files, beside `FILE_ROOM_BYTES` for each image
FILE_ROOM_BYTES = 1_024
LONGEST_TYPE = 1_024  # bytes of a content type; of 60,000 reading it takes 0.1 s
ROOM_PARTS = 16  # beside the images: for what is refused by name


def split_form(content_type: str, body: bytes, limit_images: int) -> list[bytes]:
    """Split a form into its files.

    Args:
        content_type: the header, which says what stands between the parts.
        body: the form.
        limit_images: in a request.

    Raises:
        BadRequest: it is no whole form, one of its parts is not a file, or there is more in it
            than so many files need.
    """
    if len(content_type) > LONGEST_TYPE:
        raise BadRequest(f"the content type has more than {LONGEST_TYPE} bytes, which is the limit")
    _, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise BadRequest("multipart body: the content type names no boundary")
    _bound_parts(body, b"\r\n--" + boundary, limit_images + ROOM_PARTS)
    return _Splitter(boundary, limit_images).split(body)


def _bound_parts(body: bytes, between: bytes, limit: int) -> None:
    parts = 0
    for start in range(0, len(body), COUNTED_BYTES):
        parts += body.count(between, start, start + COUNTED_BYTES + len(between) - 1)
        if parts > limit:
            raise BadRequest(f"multipart body: it has more than {limit} parts")


class _Splitter:
    """Collects the files that a parser finds.

    Args:
        boundary: stands between the parts.
        limit_images: in a request.
    """

    def __init__(self, boundary: bytes, limit_images: int) -> None:
        self._boundary = boundary
        self._limit_images = limit_images
        self._room_bytes = ROOM_BYTES + FILE_ROOM_BYTES * limit_images
        self._files: list[io.BytesIO] = []  # which give their bytes without a copy
        self._file_bytes = 0
        self._is_whole = False
        self._header = b""
        self._value = b""
        self._disposition = b""

    def split(self, body: bytes) -> list[bytes]:
        """Give the files of a form, in their order."""
        try:
            self._parse(body)
        except FormParserError as error:
            raise BadRequest("multipart body: it is not well-formed") from error
        if not self._is_whole:
            raise BadRequest("multipart body: it does not end")
        return [file.getvalue() for file in self._files]

    def _parse(self, body: bytes) -> None:
        parser = MultipartParser(
            self._boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_to_header,
                "on_header_value": self._add_to_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_file,
                "on_part_data": self._add_to_file,
                "on_end": self._end,
            },
        )
        for start in range(0, len(body), STEP_BYTES):
            step = body[start : start + STEP_BYTES]
            parser.write(step)
            if start + len(step) - self._file_bytes > self._room_bytes:
                raise BadRequest(
                    f"multipart body: it has more than {self._room_bytes} bytes around its files"
                )

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _begin_file(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            _refuse_field(options.get(b"name"))
        if len(self._files) == self._limit_images:
            raise BadRequest(f"the request holds more than {self._limit_images} images, the limit")
        self._files.append(io.BytesIO())

    def _add_to_file(self, data: bytes, start: int, end: int) -> None:
        self._file_bytes += end - start
        self._files[-1].write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._is_whole = True


def _refuse_field(name: bytes | None) -> NoReturn:
    if name is None:
        raise BadRequest("multipart body: a part has no name")
    shown = name.decode("utf-8", "replace")[:80]
    raise BadRequest(f"field {shown!r} is not a file (with curl: -F {shown}=@FILE)")
