"""A prediction of raw pixels over gRPC, for the bench of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from service.api.v2.grpc.open_inference_pb2 import ModelInferRequest
from service.errors import EngineFailed

PATH = "/inference.GRPCInferenceService/ModelInfer"


def message_of(name: str, pixels: bytes, side_px: int) -> bytes:
    """The message that asks a model for one image's probabilities."""
    tensor = ModelInferRequest.InferInputTensor(
        name="IMAGE", datatype="UINT8", shape=[1, 3, side_px, side_px]
    )
    return ModelInferRequest(
        model_name=name, inputs=[tensor], raw_input_contents=[pixels]
    ).SerializeToString()


@asynccontextmanager
async def asking(
    address: str, message: bytes, clients: int, timeout_s: float
) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Give what sends a message for one of so many clients, each with a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, own) for _ in range(clients)]
    calls: list[Any] = [channel.unary_unary(PATH) for channel in channels]

    async def ask(client: int) -> None:
        try:
            await calls[client](message, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise EngineFailed(
                f"the service answered {error.code().name}: {error.details()}"
            ) from error

    try:
        yield ask
    finally:
        for channel in channels:
            await channel.close()
