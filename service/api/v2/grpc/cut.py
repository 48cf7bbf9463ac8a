"""A request of which the tensors have been cut out before protobuf reads it.

Protobuf copies what it reads, and a message of many small fields takes many times its bytes: so it
gets the little that is left, and tensors stay where they came.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from service.api.v2.grpc.fields import (
    LENGTH_DELIMITED,
    VARINT,
    Field,
    FieldBudget,
    read_fields,
)
from service.api.v2.grpc.open_inference_pb2 import InferTensorContents, ModelInferRequest
from service.api.v2.requests import MOST_TENSORS
from service.errors import BadRequest

MOST_FIELDS = 1000  # beside the images
HEAD_BYTES = 65_536  # of what is left: names, shapes and parameters

InferInputTensor = ModelInferRequest.InferInputTensor
INPUTS: Final = ModelInferRequest.INPUTS_FIELD_NUMBER
RAW: Final = ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
CONTENTS: Final = InferInputTensor.CONTENTS_FIELD_NUMBER
NUMBERS: Final = InferTensorContents.UINT_CONTENTS_FIELD_NUMBER
ELEMENTS: Final = InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class CutInput:
    """An input: what the message says of it, and what its `contents` hold.

    Attributes:
        head: without contents.
        has_contents: whether the message has them, be they empty.
        numbers: of UINT8, in pieces, each as protobuf packs numbers.
        elements: of BYTES.
    """

    head: InferInputTensor
    has_contents: bool
    numbers: tuple[memoryview, ...]
    elements: tuple[memoryview, ...]


@dataclass(frozen=True, slots=True)
class CutRequest:
    """A request.

    Attributes:
        head: without inputs and raw tensors.
        inputs: in the message's order.
        raw: raw tensors, in the message's order.
    """

    head: ModelInferRequest
    inputs: tuple[CutInput, ...]
    raw: tuple[memoryview, ...]


def cut_request(message: bytes, limit_images: int) -> CutRequest:
    """Cut the tensors out of a request; they are views of the message.

    Args:
        message: of `ModelInferRequest`.
        limit_images: that a request may hold.

    Raises:
        BadRequest: it is no such message, or has too many fields or too large a head.
    """
    cutter = _Cutter(FieldBudget(MOST_FIELDS + limit_images))
    head = bytearray()
    inputs: list[CutInput] = []
    raw: list[memoryview] = []
    for found in read_fields(memoryview(message), cutter.budget):
        if found.holds_bytes(RAW):
            raw.append(found.content)
        elif found.holds_bytes(INPUTS):
            inputs.append(cutter.cut_input(found.content))
        else:
            cutter.keep(found, head)
        if max(len(inputs), len(raw)) > MOST_TENSORS:
            raise BadRequest(f"the request has more than {MOST_TENSORS} inputs")
    return CutRequest(parse_message(ModelInferRequest, bytes(head)), tuple(inputs), tuple(raw))


def parse_message(kind: type[M], message: bytes) -> M:
    """Have protobuf read a message.

    Raises:
        BadRequest: it is damaged.
    """
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise BadRequest(f"the message is no {kind.DESCRIPTOR.name}: {error}") from error


@dataclass(slots=True)
class _Cutter:
    budget: FieldBudget
    _kept_bytes: int = field(default=0)

    def keep(self, found: Field, head: bytearray) -> None:
        """Leave a field to protobuf."""
        self._kept_bytes += len(found.whole)
        if self._kept_bytes > HEAD_BYTES:
            raise BadRequest(f"the message has over {HEAD_BYTES} bytes beside its tensors")
        head += found.whole

    def cut_input(self, message: memoryview) -> CutInput:
        """Cut an input's contents out of it."""
        head = bytearray()
        contents: list[memoryview] = []
        for found in read_fields(message, self.budget):
            if found.holds_bytes(CONTENTS):
                contents.append(found.content)
            else:
                self.keep(found, head)
        fields = [field for part in contents for field in read_fields(part, self.budget)]
        return CutInput(
            parse_message(InferInputTensor, bytes(head)),
            bool(contents),
            tuple(found.content for found in fields if _is_number(found)),
            tuple(found.content for found in fields if found.holds_bytes(ELEMENTS)),
        )


def _is_number(found: Field) -> bool:
    """Whether a field holds numbers: packed, as is usual, or one alone."""
    return found.number == NUMBERS and found.kind in (VARINT, LENGTH_DELIMITED)
