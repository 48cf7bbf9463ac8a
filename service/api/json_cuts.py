"""JSON whose bulk never reaches the parser, which would hold the GIL for all of it.

Long texts and long lists of numbers are cut out where they stand, with a mark in their place, and
read in steps. What is left is small, whatever was sent.
"""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from service.api.base64_text import decode_base64
from service.errors import BadRequest

LONG_BYTES = 1024  # of a text, or between two texts; what is shorter stays
STEP_BYTES = 65_536  # read at a time, some 2 ms of numbers
COUNTED_BYTES = 1_000_000  # at a time, less than 1 ms
ROOM_TEXTS = 1000  # in a request, beside two for each image
ROOM_VALUES = 1000  # of a request's JSON beside those of its images
ROOM_BYTES = 65_536  # of what is left, beside `LONG_BYTES` for each image

_QUOTE, _BACKSLASH, _SPACES = b'"', b"\\", b" \t\r\n"
_ESCAPE_BYTES = len(r"\u0000")

M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True)
class CutJson:
    """A JSON text and what was cut out of it.

    Attributes:
        head: what is left: valid JSON where the whole was.
        cuts: by its mark, a text with its quotes or a list with its brackets; reading takes
            it out.
        step_bytes: are read at a time.
    """

    head: bytes
    cuts: dict[str, memoryview] = field(default_factory=dict)
    step_bytes: int = STEP_BYTES

    def parse(self, model: type[M]) -> M:
        """Read what is left.

        Raises:
            BadRequest: it is not JSON, or not what the model says; the first fault is named.
        """
        try:
            return model.model_validate_json(self.head)
        except ValidationError as error:
            raise first_fault(error) from error

    def read_base64(self, text: str) -> bytes:
        """Decode a text, or what it is the mark of.

        Raises:
            ValueError: it is not base64.
        """
        cut = self.cuts.pop(text, None)
        if cut is None:
            return decode_base64([text.encode("ascii")])
        if not _is_text(cut):
            raise ValueError("it is a list")
        return decode_base64(_unescaped(cut[1:-1], self.step_bytes))

    def read_numbers(self, values: list[Any]) -> Iterator[list[Any]] | None:
        """The numbers of the list that a list is the mark of, in order and in steps.

        Returns:
            None where it is no mark, or the mark of a text.

        Raises:
            BadRequest: what was cut is not JSON.
        """
        mark = values[0] if len(values) == 1 and isinstance(values[0], str) else ""
        cut = self.cuts.get(mark)
        if cut is None or _is_text(cut):
            return None
        del self.cuts[mark]
        return _numbers(cut, self.step_bytes)

    def require_all_read(self) -> None:
        """Refuse a text or a list that is too long for its place.

        Raises:
            BadRequest: there is one.
        """
        for each in self.cuts.values():
            cut = each[1:-1] if _is_text(each) else each
            shown = reprlib.repr(bytes(cut[:40]).decode("latin-1"))
            raise BadRequest(f"{len(cut)} bytes stand where so many do not belong: {shown}")


def first_fault(error: ValidationError) -> BadRequest:
    """What a client is told of a body that does not hold together."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step)[:80] for step in first["loc"]) or "body"
    return BadRequest(f"{place}: {first['msg'].lower()}")


def cut_json(body: bytes, size: int, limit_images: int, limit_values: int) -> CutJson:
    """Cut the bulk out of the JSON at the start of a body.

    Args:
        body: a request's.
        size: bytes of the JSON.
        limit_images: in a request; the texts and what is left are bounded by it.
        limit_values: of lists and objects, about.

    Raises:
        BadRequest: more values or texts than a request can need, or too much that is neither a
            text nor a number.
    """
    _bound_values(body, size, limit_values)
    cutter = _Cutter(body, ROOM_BYTES + LONG_BYTES * limit_images)
    at = 0
    for opening, closing in _texts(body, size, ROOM_TEXTS + 2 * limit_images):
        cutter.between(at, opening)
        cutter.text(opening, closing)
        at = closing
    cutter.between(at, size)
    return CutJson(b"".join(cutter.kept), cutter.cuts)


def _bound_values(body: bytes, size: int, limit: int) -> None:
    values = 0
    for start in range(0, size, COUNTED_BYTES):
        values += body.count(b",", start, min(start + COUNTED_BYTES, size))
        if values > limit:
            raise BadRequest(f"the JSON holds more than {limit} values")


def _texts(body: bytes, size: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where each text begins and ends, with its quotes."""
    quotes = itertools.islice(_quotes(body, size), 2 * limit + 1)
    opening = None
    for count, at in enumerate(quotes):
        if count == 2 * limit:
            raise BadRequest(f"the JSON holds more than {limit} texts")
        if opening is None:
            opening = at
        elif not _is_escaped(body, opening + 1, at):
            yield opening, at + 1
            opening = None
    if opening is not None:
        raise BadRequest("body: invalid json: a text does not end")


def _quotes(body: bytes, size: int) -> Iterator[int]:
    at = body.find(_QUOTE, 0, size)
    while at >= 0:
        yield at
        at = body.find(_QUOTE, at + 1, size)


def _is_escaped(body: bytes, start: int, at: int) -> bool:
    """Whether the quote at a place inside a text does not end it."""
    before = body[max(start, at - LONG_BYTES) : at]
    backslashes = len(before) - len(before.rstrip(_BACKSLASH))
    if backslashes == LONG_BYTES:
        raise BadRequest(f"body: a text holds {LONG_BYTES} backslashes in a row")
    return backslashes % 2 == 1


class _Cutter:
    """Keeps what is short, and cuts out what is long."""

    def __init__(self, body: bytes, limit_bytes: int) -> None:
        self.kept: list[bytes] = []
        self.cuts: dict[str, memoryview] = {}
        self._body = body
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes

    def text(self, opening: int, closing: int) -> None:
        """Keep or cut a text."""
        if closing - opening <= LONG_BYTES:
            self._keep(opening, closing)
        else:
            begins = self._body[opening + 1 : opening + 21]
            self.kept.append(b'"%b"' % self._cut(opening, closing, begins))

    def between(self, start: int, stop: int) -> None:
        """Keep what stands between two texts, without a list of numbers that is in it."""
        if stop - start > LONG_BYTES:
            opening = self._body.find(b"[", start, stop)
            brace = self._body.find(b"}", max(opening, start), stop)
            closing = self._body.rfind(b"]", opening, stop if brace < 0 else brace) + 1
            if 0 <= opening < closing:
                self._keep(start, opening)
                self.kept.append(b'["%b"]' % self._cut(opening, closing))
                start = closing
        self._keep(start, stop)

    def _keep(self, start: int, stop: int) -> None:
        self._left_bytes -= stop - start
        if self._left_bytes < 0:
            raise BadRequest(
                f"the JSON holds more than {self._limit_bytes} bytes beside its images"
            )
        self.kept.append(self._body[start:stop])

    def _cut(self, start: int, stop: int, begins: bytes = b"") -> bytes:
        """Cut; the mark begins as a text does, so that a message may show it."""
        mark = b"%b~%d" % (begins if begins.isalnum() else b"", len(self.cuts))
        self.cuts[mark.decode()] = memoryview(self._body)[start:stop]
        return mark


def _is_text(cut: memoryview) -> bool:
    return cut[0] == _QUOTE[0]


def _unescaped(text: memoryview, step_bytes: int) -> Iterator[bytes]:
    """What a text says, in steps; raises ValueError where it is not JSON or not ASCII."""
    at = 0
    while at < len(text):
        step = bytes(text[at : at + step_bytes])
        escape = step.rfind(_BACKSLASH, max(1, len(step) - _ESCAPE_BYTES))
        if escape > 0 and at + len(step) < len(text):  # the step may end within it
            step = step[:escape]
        at += len(step)
        yield orjson.loads(b'"%b"' % step).encode("ascii")


def _numbers(text: memoryview, step_bytes: int) -> Iterator[list[Any]]:
    """The values of a list, of nested ones too, in steps that each end before a comma.

    A step is read inside as many brackets as are open at its ends, after a value where one came
    before: so it is valid exactly where the whole is.
    """
    at, depth = 0, 0
    while at < len(text):
        step = bytes(text[at : at + step_bytes])
        comma = len(step) if at + len(step) == len(text) else step.rfind(b",")
        if comma < 0:
            raise BadRequest(f"body: a value of a list takes more than {step_bytes} bytes")
        step = step[:comma].strip(_SPACES)
        if step.endswith(b"["):
            raise BadRequest("body: invalid json: a list begins with a comma")
        is_row = step.startswith(b"[")
        before = b"" if not at else b"[]," if is_row else b"0,"
        opened = b"[" * depth + before
        depth += step.count(b"[") - step.count(b"]")
        values = flattened(_loads(b"%b%b%b" % (opened, step, b"]" * depth)))
        if not is_row and isinstance(values[0], list):
            raise BadRequest("body: a list holds both lists and numbers")
        yield values if is_row else values[1:]
        at += comma + 1
    if depth:
        raise BadRequest("body: invalid json: a list does not end")


def _loads(text: bytes) -> list[Any]:
    try:
        values: list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: invalid json: {error.msg} in a list") from error
    return values


def flattened(values: list[Any]) -> list[Any]:
    """The values of nested lists in order; a list of something else stays as it is."""
    while values and all(isinstance(value, list) for value in values):
        values = list(itertools.chain.from_iterable(values))
    return values
