"""`sge-serve check`: say what would be served, and serve nothing."""

from __future__ import annotations

from collections.abc import Callable

from service.commands.contents import load_served
from service.config import Settings
from service.serving.runtime import build_runtime


def run(settings: Settings, say: Callable[[str], None]) -> int:
    """Validate settings and store.

    Returns:
        0 when everything would be served, 1 when some version would not.

    Raises:
        BadSetting: a setting cannot be met.
        StoreError: nothing would be served.
    """
    contents = load_served(settings, say)
    runtime = build_runtime(settings, contents)
    for model in runtime.models:
        manifest, engine = model.loaded.manifest, model.final_engine
        say(
            f"would serve {model.loaded.key}: {manifest.architecture}, {manifest.classes} classes, "
            f"{manifest.input.size_px} px, {len(model.blocks)} blocks of {manifest.groups} groups, "
            f"{engine.name} engine ({engine.precision}, {engine.device})"
        )
    say(f"default model: {runtime.models.default or 'none, requests must name one'}")
    scheme = "https" if settings.tls_cert_file else "http"
    say(f"address: {scheme}://{settings.host}:{settings.port}")
    if settings.grpc_port is not None:
        say(f"gRPC: {settings.host}:{settings.grpc_port}")
    return 1 if contents.broken else 0
