"""What `sge-serve serve` tells whoever started it: who may come, where it is, what to try."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from service.config import Settings
from service.serving.runtime import Runtime

log = structlog.stdlib.get_logger(__name__)


def warn_of_others(settings: Settings, say: Callable[[str], None]) -> None:
    """Say what others than this machine may do to a service that they can reach."""
    if not settings.api_keys_file:
        log.warning("open to others, without API keys", host=settings.host)
        say("warning: without API keys, whoever reaches this address may use it")
    elif not settings.tls_cert_file:
        log.warning("API keys come unencrypted, unless a proxy does TLS", host=settings.host)


def ready_lines(runtime: Runtime, address: str) -> str:
    """What serves, the pages, and a line to try."""
    model = next(iter(runtime.models))
    engine = model.engine
    closed = runtime.settings.closed
    served = ", ".join(model.loaded.key for model in runtime.models)
    lines = [
        f"ready: {served} on the {engine.name} engine ({engine.precision}, {engine.device})",
        f"  page     {address}/" if "page" not in closed else "",
        f"  docs     {address}/docs" if "docs" not in closed else "",
        f"  predict  {_line_to_try(runtime, address)}",
    ]
    return "\n".join(line for line in lines if line)


def _line_to_try(runtime: Runtime, address: str) -> str:
    settings, models = runtime.settings, runtime.models
    has_example = not {"docs", "page"} <= set(settings.closed)
    named = "" if models.default else f"model={next(iter(models)).name}&"
    key = '-H "X-API-Key: $KEY" ' if settings.api_keys_file else ""
    before = f"curl -s {address}/static/example.png | " if has_example else ""
    return (
        f"{before}curl -s --data-binary @{'-' if has_example else 'PICTURE.png'} {key}"
        f"-H 'Content-Type: image/png' '{address}/v1/predict?{named}top_k=3&masks=last&groups=mean'"
    )
