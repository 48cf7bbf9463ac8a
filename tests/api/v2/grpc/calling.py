"""A client of gRPC in the test's own event loop, with the service's own message classes.

The classes of `tritonclient.grpc` are of the same names, which a process can have but once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message

from service.api.v2.grpc import open_inference_pb2 as messages
from service.engines.base import Engine
from service.store.load import LoadedModel
from tests.running import Running, running

INFERENCE = "/inference.GRPCInferenceService/"
HEALTH = "/grpc.health.v1.Health/"

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Reply:
    """How a call ended: what was sent back, or why nothing was."""

    code: grpc.StatusCode
    details: str
    content: bytes
    trailers: Mapping[str, Any]

    def read(self, kind: type[M]) -> M:
        """The message of a call that was answered."""
        assert self.code == grpc.StatusCode.OK, self.details
        return kind.FromString(self.content)


@dataclass(frozen=True, slots=True)
class Client:
    """A connection to a service."""

    service: Running
    channel: Any

    def begin(self, path: str, content: bytes, **options: Any) -> Any:
        """Begin a call; it can be awaited and cancelled."""
        call = self.channel.unary_unary(path)
        return call(content, **options)

    async def call(self, name: str, content: bytes | Message = b"", **options: Any) -> Reply:
        """Call a method of the protocol, or one by its whole path."""
        path = name if name.startswith("/") else f"{INFERENCE}{name}"
        sent = content if isinstance(content, bytes) else content.SerializeToString()
        begun = self.begin(path, sent, **options)
        try:
            answered = await begun
        except grpc.aio.AioRpcError as error:
            trailers = _plain(error.trailing_metadata())
            return Reply(error.code(), error.details() or "", b"", trailers)
        return Reply(grpc.StatusCode.OK, "", answered, _plain(await begun.trailing_metadata()))

    async def infer(self, message: Message, **options: Any) -> Reply:
        """Ask for a prediction."""
        return await self.call("ModelInfer", message, **options)


def _plain(metadata: Any) -> dict[str, Any]:
    return dict(metadata or ())


@asynccontextmanager
async def connected(
    *models: LoadedModel,
    engine: Engine | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Run a service and connect to it."""
    async with (
        running(*models, engine=engine, grpc_port=0, **settings) as service,
        connection(service.grpc[0], credentials) as channel,
    ):
        yield Client(service, channel)


def connection(address: str, credentials: grpc.ChannelCredentials | None = None) -> Any:
    """A connection of its own, a channel of `grpc.aio`, to be closed by who asked for it."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.http2.bdp_probe", 0),  # it would take more and more of what nobody reads
    ]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, credentials, options)


def pixels(*values: int, side_px: int = 32, **others: Any) -> messages.ModelInferRequest:
    """A request for images that each hold one value, raw."""
    images = np.stack([np.full((3, side_px, side_px), value, np.uint8) for value in values])
    return raw_pixels(images, **others)


def raw_pixels(images: np.ndarray[Any, Any], **others: Any) -> messages.ModelInferRequest:
    """A request for images, (B, 3, S, S) uint8."""
    return messages.ModelInferRequest(
        **({"model_name": "tiny"} | others),
        inputs=[input_of("UINT8", images.shape)],
        raw_input_contents=[images.tobytes()],
    )


def pictures(*files: bytes, name: str = "tiny-image", **others: Any) -> messages.ModelInferRequest:
    """A request for encoded pictures, in the message's contents."""
    tensor = input_of("BYTES", [len(files), 1])
    tensor.contents.bytes_contents.extend(files)
    return messages.ModelInferRequest(model_name=name, inputs=[tensor], **others)


def input_of(datatype: str, shape: Any) -> messages.ModelInferRequest.InferInputTensor:
    """An input without its values."""
    return messages.ModelInferRequest.InferInputTensor(name="IMAGE", datatype=datatype, shape=shape)
