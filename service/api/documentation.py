"""The parts of the OpenAPI document that FastAPI cannot derive: the body and the replies."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header
from pydantic import WithJsonSchema

from service.api.key_door import KEY_HEADER, is_open
from service.api.schemas import ErrorBody, JsonImage, PredictBody, ReadinessBody
from service.config import LONGEST_TIMEOUT_MS
from service.serving.turns import DEFAULT_PRIORITY, HIGHEST_PRIORITY, LOWEST_PRIORITY

Responses = dict[int | str, dict[str, Any]]

DeadlineMs = Annotated[
    float | None,
    Header(
        gt=0,
        le=LONGEST_TIMEOUT_MS,
        description="for how many milliseconds the answer is of use",
        examples=[2000],
    ),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_TIMEOUT_MS}),
]

Priority = Annotated[
    int,
    Header(
        ge=0,
        le=LOWEST_PRIORITY,
        description=f"{HIGHEST_PRIORITY} goes first, {LOWEST_PRIORITY} last; 0 is the default, "
        f"{DEFAULT_PRIORITY}",
    ),
]

BINARY = {"schema": {"type": "string", "format": "binary"}}
# A grey 8 x 8 PNG: small enough for an example, and it works as it stands.
EXAMPLE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR4nGNsYIAAJgaKGAAmCACQXTClHgAAAABJRU"
    "5ErkJggg=="
)

PREDICT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/octet-stream": BINARY,
        "image/*": BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "images": {"type": "array", "items": {"type": "string", "format": "binary"}}
                },
                "required": ["images"],
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "items": JsonImage.model_json_schema(),
                    }
                },
                "required": ["images"],
            },
            "example": {"images": [{"b64": EXAMPLE_PNG}]},
        },
    },
}

PREDICT_EXAMPLE: dict[str, Any] = {
    "model": {"name": "fashion-mnist", "version": "4"},
    "request_id": "5c1f9a54a1e04a6fb4b3bba5e3a9f6de",
    "results": [
        {
            "predictions": [{"index": 9, "label": "Ankle boot", "score": 0.98}],
            "masks": [
                {
                    "block": "layer4.1",
                    "kind": "gate",
                    "height": 2,
                    "width": 2,
                    "groups": [3],
                    "data": [[[0.61, 0.72], [0.58, 0.66]]],
                }
            ],
        }
    ],
    "timing_ms": {"decode": 0.6, "queue": 0.1, "infer": 9.8, "postprocess": 0.1, "total": 11.2},
    "batch_size": 4,
    "engine": "compiled",
}

_ERRORS = {
    400: "the image cannot be decoded; a host name that is none of ours, or no request of HTTP/1.1",
    404: "no such model or version",
    408: "the body or the head takes too long to arrive",
    413: "the body or an image is over a limit",
    415: "an image format, a content type or a content encoding that is not accepted; "
    "`Accept-Encoding` names the encodings that are",
    422: "a parameter, a header or the body makes no sense",
    429: "every permit, or the memory for bodies, is taken, or the share of this API key; "
    "`Retry-After` says when to try again",
    431: "the head is over a limit",
    500: "the service failed, or the model on this image",
    503: "not ready, stopping, or every connection but those for probes is taken; `Retry-After` "
    "says when to try again",
    504: "no answer within the deadline",
}


def errors_of(*statuses: int) -> Responses:
    """The errors that a route of the native API answers with."""
    return {status: {"model": ErrorBody, "description": _ERRORS[status]} for status in statuses}


EVERY_ROUTE = errors_of(400, 408, 422, 431, 500)
EVERY_ROUTE_BUT_PROBES = {**EVERY_ROUTE, **errors_of(503)}
NOT_READY: Responses = {503: {"model": ReadinessBody, "description": "not every model can answer"}}
PREDICT_RESPONSES: Responses = {
    200: {
        "model": PredictBody,
        "description": "Predictions and, when asked, masks of every image",
        "content": {"application/json": {"example": PREDICT_EXAMPLE}},
    },
    **errors_of(*_ERRORS),
}


KEY_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "header": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
}


def describe_keys(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document that all but the open paths need an API key in either header."""
    document["components"]["securitySchemes"] = KEY_SCHEMES
    for path, operations in document["paths"].items():
        for operation in operations.values() if not is_open(path) else ():
            operation["security"] = [{name: []} for name in KEY_SCHEMES]
            form = "V2Error" if path.startswith("/v2") else "ErrorBody"
            operation["responses"]["401"] = {
                "description": "no API key, or one that is not known",
                "content": {
                    "application/json": {"schema": {"$ref": f"#/components/schemas/{form}"}}
                },
            }
