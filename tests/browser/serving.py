"""A service in a thread of its own, for a browser to talk to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.api.server import build_server
from service.app import Hooks, create_app
from service.config import Settings
from service.engines.calibration import image_limits
from service.serving.decode_workers import DecodeHere
from service.serving.runtime import Runtime, build_runtime
from service.store.load import LoadedModel, StoreContents
from tests.running import tiny_model


@contextmanager
def serving(*models: LoadedModel, **settings: object) -> Iterator[str]:
    """The address of a service of the given models.

    Args:
        models: by default `single`, and `twice` in two versions.
        settings: whatever shall differ from the eager engine in fp32.
    """
    three = (tiny_model("single"), tiny_model("twice"), tiny_model("twice", "2"))
    chosen = {"engine": "eager", "device": "cpu", "precision": "fp32"} | settings
    named = {} if models else {"default_model": "single"}
    built = Settings(**(named | chosen))  # type: ignore[arg-type]
    decoder = DecodeHere(image_limits(built))
    contents = StoreContents(models or three, ())
    with _answering(build_runtime(built, contents, decoder=decoder)) as address:
        yield address


@contextmanager
def _answering(runtime: Runtime) -> Iterator[str]:
    ready = threading.Event()
    server = build_server(create_app(runtime, Hooks(on_ready=ready.set)), runtime)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert ready.wait(60)
        port = listener.getsockname()[1]
        yield f"http://127.0.0.1:{port}{runtime.settings.root_path}"
    finally:
        server.end()
        thread.join()
