"""Names of what is built ahead: each stands for all that the built thing depends on."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch

from service.store import Bundle

# Every engine runs what these modules make of a model: a change of one outdates what was built.
GRAPH_SOURCES = (
    "service.model.sge",
    "service.model.resnet",
    "service.model.fuse",
    "service.model.graph",
)


def identity_of(*parts: object) -> str:
    """Condense parts to a file name: equal parts, the same name; anything else, another one.

    Args:
        parts: objects whose `repr` says all there is to them.
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def model_parts(bundle: Bundle) -> tuple[object, ...]:
    """What a model is to an engine: its weights, its shapes and its input, whatever its name."""
    manifest = bundle.manifest
    return manifest.sha256.weights, manifest.spec, manifest.input


def source_parts(modules: Sequence[str]) -> tuple[str, ...]:
    """The text of modules, by their dotted names; imports none of them."""
    specs = [importlib.util.find_spec(name) for name in modules]
    return tuple(Path(s.origin).read_text(encoding="utf-8") for s in specs if s and s.origin)


def platform_parts(device: torch.device) -> tuple[object, ...]:
    """The version of torch, and the processor or GPU that code is made for."""
    if device.type == "cpu":
        return torch.__version__, "cpu", sorted(torch.cpu.get_capabilities().items())
    gpu = torch.cuda.get_device_properties(device)
    return torch.__version__, gpu.name, gpu.major, gpu.minor, gpu.multi_processor_count
