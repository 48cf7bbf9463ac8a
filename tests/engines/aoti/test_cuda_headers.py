"""What a build for a GPU needs beside a compiler, held without a GPU: the headers are complete."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from service.engines.aoti.build import cuda_of_wheels, offer_cuda_headers
from tests.engine_builders import needs_compiler

WRAPPER = "#include <torch/csrc/inductor/cpp_wrapper/cuda.h>\n"


@needs_compiler
@pytest.mark.slow
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


def test_a_toolkit_goes_before_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has installed one has a reason."""
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/opt/toolkit")
    offer_cuda_headers()
    assert cpp_extension.CUDA_HOME == "/opt/toolkit"

    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    offer_cuda_headers()
    assert cuda_of_wheels() == cpp_extension.CUDA_HOME
