"""The real application behind a real socket, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from service.app import Hooks, create_app
from service.config import Settings
from service.serving.runtime import build_runtime
from service.serving.served_model import ServedModel
from service.store.load import LoadedModel, StoreContents

T = TypeVar("T")

START_PATIENCE_S = 1800.0  # compiling every batch size of a large network


@dataclass(frozen=True, slots=True)
class Served:
    """A service that answers.

    Attributes:
        address: where.
        over_grpc: where gRPC is served; empty where it is not.
        model: what answers.
        loop: on which it lives.
    """

    address: str
    over_grpc: str
    model: ServedModel
    loop: asyncio.AbstractEventLoop

    def on_device(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function on the thread that runs the engine; on another one it is slower.

        Two teams of threads would share the cores (see `short_lived_thread`).
        """

        async def call() -> T:
            return (await self.model.device.run(function, *arguments)).result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result()


@contextlib.contextmanager
def serving(model: LoadedModel, settings: Settings) -> Iterator[Served]:
    """Run the application on a thread of its own, until the end of the block.

    Raises:
        EngineFailed: the model's engine cannot run.
        TimeoutError: it is not ready in half an hour.
    """
    started: Future[asyncio.AbstractEventLoop] = Future()
    over_grpc: list[str] = []
    hooks = Hooks(
        lambda: started.set_result(asyncio.get_running_loop()),
        started.set_exception,
        on_grpc=over_grpc.append,
    )
    runtime = build_runtime(settings, StoreContents((model,), ()))
    app = create_app(runtime, hooks)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", server_header=False)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
        thread.start()
        try:
            loop = started.result(START_PATIENCE_S)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield Served(address, "".join(over_grpc), next(iter(runtime.models)), loop)
        finally:
            server.should_exit = True
            thread.join()
