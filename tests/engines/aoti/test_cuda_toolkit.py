"""What a build for a GPU is shown of CUDA: headers that are there, and a driver to link against."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from service.engines.aoti.cuda_toolkit import (
    DRIVER,
    HEADERS,
    cuda_with_headers,
    folders_of_wheels,
    library_in,
    link_cuda,
    offered_cuda,
)
from service.errors import EngineFailed
from tests.engine_builders import needs_compiler, no_cuda

WRAPPER = "#include <torch/csrc/inductor/cpp_wrapper/cuda.h>\n"
MAPS = """\
7f0e5c000000-7f0e5c200000 r--p 00000000 08:01 1053 /usr/lib/libcudadebugger.so.580.65.06
7f0e5e000000-7f0e5e200000 r--p 00000000 08:01 1054 /usr/lib/my libs/libcuda.so.580.65.06
7f0e5f000000-7f0e5f200000 rw-p 00000000 00:00 0
"""
SHOWN = """
import ctypes, sys
from pathlib import Path
from torch.utils import cpp_extension
from service.engines.aoti.cuda_toolkit import offered_cuda
before = cpp_extension.CUDA_HOME
ctypes.CDLL(sys.argv[1])
with offered_cuda(Path(sys.argv[2])):
    print(*(p for p in cpp_extension.include_paths("cuda") if p.startswith(sys.argv[2])))
    print(*(p for p in cpp_extension.library_paths("cuda") if p.startswith(sys.argv[2])))
print("as before" if before == cpp_extension.CUDA_HOME else cpp_extension.CUDA_HOME)
"""
needs_cuda_build = pytest.mark.skipif(
    torch.version.cuda is None, reason="this torch is built without CUDA"
)


def cuda_at(folder: Path, *, without: str = "", version: int = 13000) -> Path:
    """A folder of CUDA with the headers that are asked for, and no others."""
    for name in HEADERS:
        header = folder / "include" / name
        header.parent.mkdir(parents=True, exist_ok=True)
        if name != without:
            header.write_text(f"/* CUDA */\n#define CUDA_VERSION {version}\n")
    return folder


@pytest.mark.parametrize("missing", HEADERS)
def test_a_folder_without_a_header_is_passed_over(tmp_path: Path, missing: str) -> None:
    """As a toolkit of libraries alone is, and wheels without those of the extra."""
    bare = cuda_at(tmp_path / "bare", without=missing)
    whole = cuda_at(tmp_path / "whole")

    assert cuda_with_headers([tmp_path / "none", bare, whole], "13.0") == whole


def test_a_toolkit_with_headers_goes_before_the_wheels(tmp_path: Path) -> None:
    """Whoever has installed one has a reason."""
    toolkit, wheels = cuda_at(tmp_path / "toolkit"), cuda_at(tmp_path / "wheels")

    assert cuda_with_headers([toolkit, wheels], "13.0") == toolkit


def test_headers_of_another_major_version_are_passed_over(tmp_path: Path) -> None:
    """They name functions that the runtime of torch does not have."""
    older = cuda_at(tmp_path / "older", version=12080)
    own = cuda_at(tmp_path / "own", version=13010)

    assert cuda_with_headers([older, own], "13.0") == own


def test_headers_that_are_nowhere_are_told(tmp_path: Path) -> None:
    """With what to install, and what each place lacks."""
    bare = cuda_at(tmp_path / "bare", without="nv/target")
    older = cuda_at(tmp_path / "older", version=12080)

    with pytest.raises(EngineFailed) as failure:
        cuda_with_headers([bare, older], "13.0")

    assert failure.value.message == (
        "a build for a GPU needs the headers of CUDA 13.0: pip install 'sge-serve[cuda]' "
        f"({bare} lacks nv/target; {older} is of CUDA 12)"
    )


def test_the_driver_is_found_where_the_process_has_it_from() -> None:
    """By the name of its file, whatever its version, and no other library's."""
    assert library_in(MAPS, DRIVER) == Path("/usr/lib/my libs/libcuda.so.580.65.06")
    assert library_in(MAPS, "libcudart.so") is None


@no_cuda
@needs_cuda_build
def test_a_build_without_a_driver_is_refused(tmp_path: Path) -> None:
    """Torch is left as it was."""
    before = cpp_extension.CUDA_HOME

    with pytest.raises(EngineFailed, match="is not loaded"), offered_cuda(tmp_path / "cuda"):
        pass

    assert cpp_extension.CUDA_HOME is before


@needs_compiler
@needs_cuda_build
def test_the_wheels_headers_compile_a_wrapper(tmp_path: Path) -> None:
    """The file that every program for CUDA begins with finds all that it includes."""
    cuda = cuda_with_headers(folders_of_wheels(), str(torch.version.cuda))
    source = tmp_path / "wrapper.cpp"
    source.write_text(WRAPPER)
    folders = [
        *cpp_extension.include_paths("cpu"),
        sysconfig.get_path("include"),
        f"{cuda}/include",
    ]

    command = ["g++", "-std=c++20", "-fsyntax-only", "-DUSE_CUDA"]
    subprocess.run([*command, *(f"-I{folder}" for folder in folders), source], check=True)


def driver_at(folder: Path) -> Path:
    """A driver of one function, in a file with a version, as drivers come."""
    source, driver = folder / "driver.cpp", folder / "libcuda.so.1.2"
    source.write_text('extern "C" int cuInit(unsigned) { return 0; }')
    soname = "-Wl,-soname,libcuda.so.1"
    subprocess.run(["g++", "-shared", "-fPIC", soname, source, "-o", driver], check=True)
    return driver


@needs_compiler
def test_a_program_is_linked_against_a_driver_of_another_name(tmp_path: Path) -> None:
    """`-lcuda` finds a driver that brings no `libcuda.so`, and the program asks for its soname."""
    source, program, offered = (tmp_path / name for name in ("p.cpp", "p.so", "cuda"))
    source.write_text('extern "C" int cuInit(unsigned); int begin() { return cuInit(0); }')

    link_cuda(offered, cuda_at(tmp_path / "toolkit"), driver_at(tmp_path))
    linked = [f"-L{offered}/lib64", "-lcuda"]
    subprocess.run(["g++", "-shared", "-fPIC", source, *linked, "-o", program], check=True)

    assert b"libcuda.so.1\0" in program.read_bytes()
    assert (offered / "include" / "cuda.h").is_file()


@no_cuda
@needs_compiler
@needs_cuda_build
def test_torch_looks_where_cuda_is_offered(tmp_path: Path) -> None:
    """In a process that has a driver: for headers, for the driver; afterwards where it did."""
    driver, offered = driver_at(tmp_path), tmp_path / "cuda"

    shown = subprocess.run(
        [sys.executable, "-c", SHOWN, driver, offered], capture_output=True, text=True, check=True
    )

    assert shown.stdout.splitlines() == [f"{offered}/include", f"{offered}/lib64", "as before"]
    assert all((offered / "include" / name).is_file() for name in HEADERS)
    assert (offered / "lib64" / DRIVER).resolve() == driver
