"""A build: which programs it compiles, what it makes of them, and what it needs for a GPU."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import ExportedProgram
from torch.utils import cpp_extension

from service.engines.aoti.build import CompiledProgram, compile_needed, cuda_home, cuda_of_wheels
from service.engines.aoti.package import NETWORK, NETWORK_OF_ONE
from service.engines.aoti.packing import Packing
from tests.engine_builders import needs_compiler

WRAPPER = "#include <torch/csrc/inductor/cpp_wrapper/cuda.h>\n"


@pytest.mark.parametrize(
    ("differs", "compiled"), [(True, [NETWORK, NETWORK_OF_ONE]), (False, [NETWORK])]
)
def test_a_program_of_one_is_compiled_where_one_image_is_another_matter(
    *, differs: bool, compiled: list[str]
) -> None:
    """And only there: it takes as long to build as the program itself."""
    programs: dict[str, Any] = {NETWORK: lambda: "for any", NETWORK_OF_ONE: lambda: "for one"}

    def compile_one(_: str, __: ExportedProgram) -> CompiledProgram:
        return CompiledProgram([], Packing(differs_for_one=differs))

    found = compile_needed(programs, compile_one)

    assert list(found) == compiled


@needs_compiler
@pytest.mark.skipif(torch.version.cuda is None, reason="this torch is built without CUDA")
def test_the_wheels_headers_compile_a_wrapper(tmp_path: Path) -> None:
    """The file that every program for CUDA begins with finds all that it includes."""
    cuda = cuda_of_wheels()
    assert cuda is not None
    source = tmp_path / "wrapper.cpp"
    source.write_text(WRAPPER)
    folders = [
        *cpp_extension.include_paths("cpu"),
        sysconfig.get_path("include"),
        f"{cuda}/include",
    ]

    command = ["g++", "-std=c++20", "-fsyntax-only", "-DUSE_CUDA"]
    subprocess.run([*command, *(f"-I{folder}" for folder in folders), source], check=True)


def test_a_toolkit_goes_before_the_wheels() -> None:
    """Whoever has installed one has a reason."""
    assert cuda_home("/opt/toolkit") == "/opt/toolkit"
    assert cuda_home(None) == cuda_of_wheels()
