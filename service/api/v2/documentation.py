"""The protocol's part of the OpenAPI document: the body, the replies and the errors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel, WithJsonSchema

from service.api.documentation import BINARY, EXAMPLE_PNG, Responses

HeaderLength = Annotated[
    str | None,
    Header(description="bytes of JSON before the raw tensors; 0 for a raw tensor alone"),
    WithJsonSchema({"type": "integer", "minimum": 0}),
]


class V2Error(BaseModel):
    """The body of every error."""

    error: str


class LiveBody(BaseModel):
    """Whether the process is alive."""

    live: bool


class ReadyBody(BaseModel):
    """Whether every model can answer."""

    ready: bool


class ModelReadyBody(BaseModel):
    """Whether a model can answer."""

    name: str
    ready: bool


def _errors(errors: dict[int | str, str]) -> Responses:
    return {status: {"model": V2Error, "description": text} for status, text in errors.items()}


EVERY_ROUTE = _errors({"4XX": "the request makes no sense", 500: "the service failed"})
NO_ROOM = _errors({503: "stopping, or every connection but those for probes is taken"})
NO_MODEL = {**NO_ROOM, **_errors({404: "no such model or version"})}
NOT_READY: Responses = {503: {"model": ReadyBody, "description": "not every model can answer"}}
MODEL_HEALTH: dict[str, Any] = {
    "response_model": ModelReadyBody,
    "responses": {
        **NO_MODEL,
        503: {"model": ModelReadyBody | V2Error, "description": "it cannot answer"},
    },
}

CHANGES: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"description": "done"},
        **NO_MODEL,
        **_errors(
            {
                400: "the request makes no sense, or a version that was to be loaded cannot be "
                "served: the message says why, and what served before does so still",
                401: "no admin key, or one that is not known",
                501: "the service has no `SGE_ADMIN_KEY_FILE`",
            }
        ),
    },
}
"""Keywords of the routes that change what is served."""


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_INPUT = _object(
    {
        "name": {"const": "IMAGE"},
        "datatype": {"enum": ["UINT8", "BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
        "data": {"type": "array", "items": {}, "description": "numbers, or base64 for BYTES"},
        "parameters": _object({"binary_data_size": {"type": "integer", "minimum": 0}}),
    },
    *("name", "datatype", "shape"),
)
_OUTPUT = _object(
    {
        "name": {"enum": ["PROBS", "TOP_INDEX", "TOP_SCORE", "TOP_LABEL", "MASK"]},
        "parameters": _object(
            {
                "binary_data": {"type": "boolean"},
                "classification": {"type": "integer", "minimum": 0},
            }
        ),
    },
    "name",
)
_REQUEST = _object(
    {
        "id": {"type": "string", "maxLength": 256},
        "inputs": {"type": "array", "items": _INPUT, "minItems": 1, "maxItems": 1},
        "outputs": {"type": "array", "items": _OUTPUT, "maxItems": 4},
        "parameters": _object(
            {
                "binary_data_output": {"type": "boolean"},
                "timeout": {"type": "integer", "minimum": 0, "description": "microseconds"},
            }
        ),
    },
    "inputs",
)
_EXAMPLE = {
    "inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [1, 1], "data": [EXAMPLE_PNG]}]
}
_REPLY = _object(
    {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {
            "type": "array",
            "items": _object(
                {
                    "name": {"type": "string"},
                    "datatype": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "data": {"type": "array"},
                    "parameters": {"type": "object"},
                },
                *("name", "datatype", "shape"),
            ),
        },
    },
    *("model_name", "model_version", "outputs"),
)

INFER: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "the outputs, or JSON with raw tensors behind it",
            "content": {
                "application/json": {"schema": _REPLY},
                "application/octet-stream": BINARY,
            },
        },
        **NO_MODEL,
        **_errors(
            {
                400: "the request or an image makes no sense, is too large or comes too slowly",
                415: "a content encoding that is not one of those in `Accept-Encoding`",
                500: "the service failed, or the model on this image",
                503: "not ready, overloaded or stopping, or no answer within the deadline; "
                "`Retry-After` says when to try again",
            }
        ),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _REQUEST, "example": _EXAMPLE},
                "application/octet-stream": BINARY,
            },
        }
    },
}
"""Keywords of the routes that run a model."""
