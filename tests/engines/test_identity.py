"""What a built engine's name stands for."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from service.engines.aoti import engine as compiled
from service.engines.aoti import int8
from service.engines.identity import identity_of, platform_parts, source_parts
from service.engines.tensorrt import engine as tensorrt

# What a build imports, and what yet cannot change a byte of what it builds.
WITHOUT_EFFECT = {
    "service.engines.background_build",  # where it is built
    "service.engines.base",  # a protocol
    "service.engines.aoti.cuda_graphs",  # runs what was built
    "service.engines.device_loss",  # runs what was built
    "service.engines.staging",  # runs what was built
    "service.engines.driver",  # whether it can be built
    "service.engines.gpu",  # whether it can be built
    "service.engines.gpu_memory",  # whether it can be loaded
    "service.engines.identity",  # names it
    "service.engines.artifact_cache",  # keeps it
    "service.engines.aoti.unlocked",  # runs what was built
    "service.engines.plan",  # chooses among what was built
}
# What reads a version, and what makes pixels of the pictures by which int8 is calibrated.
READING = ("service.model.checkpoint", "service.model.weights_file")
PICTURES = ("service.engines.calibration",)
ROOMS = ("service.engines.", "service.model.", "service.images.")
# Weights, shapes and input are in the name by value (`model_parts`), files of pictures by checksum.


def imported_by(module: str) -> Iterator[str]:
    """The modules of the service that a module imports, wherever in its file it does."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOMS):
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(ROOMS))


def build_of(*modules: str) -> set[str]:
    """Modules with all that they import, directly or not, and that may change what is built."""
    found: set[str] = set()
    new = {*modules}
    while new:
        found |= new
        new = {name for known in new for name in imported_by(known)} - found - WITHOUT_EFFECT
    return found


@pytest.mark.parametrize(
    ("build", "sources"),
    [
        ((compiled.__name__,), compiled.CompiledEngine.sources),
        ((int8.__name__, *PICTURES), int8.Int8Engine.sources),
        ((tensorrt.__name__,), tensorrt.SOURCES),
    ],
)
def test_every_module_of_a_build_outdates_what_it_built(
    build: tuple[str, ...], sources: tuple[str, ...]
) -> None:
    """No package of older code is taken for current, whichever module of its build has changed."""
    assert set(sources) == build_of(*build, *READING)


def test_a_module_that_is_not_found_is_an_error() -> None:
    """After a renaming nothing is built, rather than kept under a name that says too little."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        source_parts(("service.model.sge", "service.model.no_such_module"))


@pytest.mark.parametrize("feature", sorted(torch.cpu.get_capabilities()))
def test_what_another_processor_has_compiled_has_another_name(feature: str) -> None:
    """Nodes of several kinds share a cache: one feature more or less, and it is not looked for."""
    cpu = torch.device("cpu")
    here = torch.cpu.get_capabilities()

    other = platform_parts(cpu, {**here, feature: "another"})

    assert identity_of(platform_parts(cpu, here)) == identity_of(platform_parts(cpu))
    assert identity_of(other) != identity_of(platform_parts(cpu))
