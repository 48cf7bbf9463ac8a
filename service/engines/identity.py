"""Names of what is built ahead: each stands for all that the built thing depends on."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from service.store.load import LoadedModel

# Every engine runs what these modules make of a version: a change of one outdates what was built.
GRAPH_SOURCES = (
    "service.model.sge",
    "service.model.torchvision_resnet",
    "service.model.resnet",
    "service.model.raw_outputs",
    "service.model.fuse",
    "service.model.graph",
    "service.model.shapes",
    "service.model.checkpoint",
    "service.model.weights_file",
    "service.engines.device",
    "service.engines.torch_engine",
)


def identity_of(*parts: object) -> str:
    """Condense parts to a file name: equal parts, the same name; anything else, another one.

    Args:
        parts: objects whose `repr` says all there is to them.
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def model_parts(model: LoadedModel) -> tuple[object, ...]:
    """What a model is to an engine: its weights, its shapes and its input, whatever its name."""
    manifest = model.manifest
    return manifest.sha256.weights, manifest.spec, manifest.input


def source_parts(modules: Sequence[str]) -> tuple[str, ...]:
    """The text of modules, by their dotted names; imports none of them.

    Raises:
        ModuleNotFoundError: there is no module of a name, as after a renaming. To pass it over
            would take what older code has built for current.
    """
    return tuple(_source_of(name) for name in modules)


def _source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {module!r} to read the source of", name=module)
    return Path(spec.origin).read_text(encoding="utf-8")


def platform_parts(
    device: torch.device, processor: Mapping[str, object] | None = None
) -> tuple[object, ...]:
    """The version of torch, and the processor or GPU that code is made for.

    Args:
        device: where the code runs.
        processor: all that torch knows of it: name, instructions, caches, cores of the machine
            whatever a container may use of them. None asks for this machine's.
    """
    if device.type == "cpu":
        known = torch.cpu.get_capabilities() if processor is None else processor
        return torch.__version__, "cpu", sorted(known.items())
    gpu = torch.cuda.get_device_properties(device)
    return torch.__version__, gpu.name, gpu.major, gpu.minor, gpu.multi_processor_count
