"""A service in a thread of its own, for a browser to talk to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from service.api.server import build_server
from service.app import Hooks, create_app
from service.config import Settings
from service.engines.calibration import image_limits
from service.images.contract import InputContract
from service.model.resnet import SgeResNet
from service.serving.decode_workers import DecodeHere
from service.serving.runtime import Runtime, build_runtime
from service.store.load import LoadedModel, StoreContents
from service.store.reference import ReferenceNetwork
from tests.running import tiny_model
from tests.store_fixtures import TINY, random_network

CROP = InputContract(size_px=32, fit="crop", shorter_side_px=40)


def many_classes_model() -> LoadedModel:
    """A model of more classes than an answer tells of."""
    labels = tuple(f"class {number}" for number in range(1200))
    network = random_network(SgeResNet, replace(TINY, classes=len(labels)))
    manifest = tiny_model("many").manifest.model_copy(update={"classes": len(labels)})
    return LoadedModel(manifest, labels, ReferenceNetwork(network, lambda: network))


def inserted_model() -> LoadedModel:
    """A model of 16 groups, whose SGE came with the import, that looks at a picture's middle."""
    network = random_network(SgeResNet, replace(TINY, groups=16))
    model = tiny_model("inserted")
    changes = {"groups": 16, "sge_inserted": True, "input": CROP}
    manifest = model.manifest.model_copy(update=changes)
    reference = ReferenceNetwork(network, lambda: network)
    return replace(model, manifest=manifest, reference=reference)


@contextmanager
def serving(*models: LoadedModel, **settings: object) -> Iterator[str]:
    """The address of a service of the given models.

    Args:
        models: the first is the default one; without any, the tiny model.
        settings: whatever shall differ from the eager engine in fp32.
    """
    served = models or (tiny_model(),)
    named = {"default_model": served[0].manifest.name}
    chosen = {"engine": "eager", "device": "cpu", "precision": "fp32"} | named | settings
    built = Settings(**chosen)  # type: ignore[arg-type]
    decoder = DecodeHere(image_limits(built))
    runtime = build_runtime(built, StoreContents(served, ()), decoder=decoder)
    with _answering(runtime) as address:
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
