"""Compiled programs that run without the GIL.

torch's own binding of AOTInductor holds the lock for the whole forward pass
(pytorch/pytorch#197516), and with it the event loop and every decoding thread. Here the program's C
interface is called by ctypes, which lets the lock go.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
import weakref
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

_CREATE = "AOTInductorModelContainerCreateWithDevice"
_COUNT = "AOTInductorModelContainerGetNumOutputs"
_RUN = "AOTInductorModelContainerRunSingleThreaded"  # the caller keeps it to one thread at a time
_DELETE = "AOTInductorModelContainerDelete"

# Where a library holds the weights that its program copies as it is created (torch 2.14.1).
_WEIGHTS = "_binary_constants_bin_start", "_binary_constants_bin_end"
_PUNCH_HOLE = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE

# Prototypes of our own: the functions that `ctypes.pythonapi` hands out are everybody's.
pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
capsule_of = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class UnlockedProgram:
    """A program on a CPU; its code stays mapped until the process ends.

    Args:
        library: the compiled program, a file of its own: its weights are taken out of it, since
            the program has copied them. It may be removed once it is loaded.

    Raises:
        RuntimeError: the file is no program, or one of another torch.
    """

    def __init__(self, library: Path) -> None:
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError as error:
            raise RuntimeError(f"{library.name} cannot be loaded: {error}") from error
        self._container = ctypes.c_void_p()
        create, count = loaded[_CREATE], loaded[_COUNT]
        _require(create(ctypes.byref(self._container), ctypes.c_size_t(1), b"cpu", None), _CREATE)
        deletion = weakref.finalize(self, loaded[_DELETE], self._container)
        deletion.atexit = False  # a pass may still hang in it then
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the pages stay then
            _take_out_weights(library, loaded)
        outputs = ctypes.c_size_t()
        _require(count(self._container, ctypes.byref(outputs)), _COUNT)
        self._run = loaded[_RUN]
        self._outputs = outputs.value

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run; every other thread goes on meanwhile.

        Args:
            inputs: what the program takes, on the CPU; the list is emptied.

        Raises:
            RuntimeError: the program failed; it has written to stderr why.
        """
        given = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(inputs)  # noqa: SLF001
        inputs.clear()
        handles = (ctypes.c_void_p * len(given))(*(pointer_of(handle, None) for handle in given))
        results = (ctypes.c_void_p * self._outputs)()
        _require(
            self._run(
                self._container,
                handles,
                ctypes.c_size_t(len(handles)),
                results,
                ctypes.c_size_t(len(results)),
                None,
                None,
            ),
            _RUN,
        )
        capsules = [capsule_of(handle, None, None) for handle in results]
        return torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(capsules)  # noqa: SLF001


def names_in(package: BinaryIO) -> set[str]:
    """The names of the programs in a package of AOTInductor.

    Args:
        package: a file; what stands before the package in it is passed over.

    Raises:
        RuntimeError: the file is no package.
    """
    if not zipfile.is_zipfile(package):
        raise RuntimeError("the file is no package")
    with zipfile.ZipFile(package) as archive:
        return {Path(name).parent.name for name in archive.namelist() if name.endswith(".so")}


def load_unlocked(package: BinaryIO, name: str) -> UnlockedProgram:
    """Load one program of a package of AOTInductor.

    Args:
        package: as `names_in` takes it.
        name: of the program.

    Raises:
        RuntimeError: the file is no package, or it holds no such program.
    """
    if name not in names_in(package):
        raise RuntimeError(f"the package holds no program called {name}")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(package) as archive:
        (library,) = (
            entry for entry in archive.namelist() if f"/{name}/" in entry and entry.endswith(".so")
        )
        return UnlockedProgram(Path(archive.extract(library, folder)))


def _take_out_weights(library: Path, loaded: ctypes.CDLL) -> None:
    """Make a hole of a library's weights: mapped, they would be a second copy in memory.

    Where temporary files lie in memory (tmpfs), even the removed file would hold them.

    Raises:
        OSError: the file system has no holes, or the kernel does not say what is mapped.
        ValueError: the library does not say where its weights are.
        AttributeError: the C library makes no holes.
    """
    start, end = (ctypes.addressof(ctypes.c_char.in_dll(loaded, name)) for name in _WEIGHTS)
    offset = ctypes.c_int64(_offset_in_file(start))
    with library.open("r+b") as file:
        punch = ctypes.CDLL(None, use_errno=True).fallocate
        if punch(file.fileno(), _PUNCH_HOLE, offset, ctypes.c_int64(end - start)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _offset_in_file(address: int) -> int:
    """Where in its file lies what is mapped at an address.

    Raises:
        OSError: the kernel does not say it.
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        addresses, _, offset, *_ = line.split()
        start, end = (int(number, 16) for number in addresses.split("-"))
        if start <= address < end:
            return int(offset, 16) + address - start
    raise OSError(f"nothing is mapped at {address:#x}")


def _require(status: int, call: str) -> None:
    if status:
        raise RuntimeError(f"{call} failed")
