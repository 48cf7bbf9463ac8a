"""Compiled programs that run without the GIL.

torch's own binding of AOTInductor holds the lock for the whole forward pass
(pytorch/pytorch#197516), and with it the event loop and every decoding thread. Here the program's C
interface is called by ctypes, which lets the lock go.
"""

from __future__ import annotations

import ctypes
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

# Prototypes of our own: the functions that `ctypes.pythonapi` hands out are everybody's.
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_capsule_of = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))


class UnlockedProgram:
    """A program on a CPU; its code stays mapped until the process ends.

    Args:
        library: the compiled program; it may be removed once it is loaded.

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
        handles = (ctypes.c_void_p * len(given))(*(_pointer_of(handle, None) for handle in given))
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
        capsules = [_capsule_of(handle, None, None) for handle in results]
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


def _require(status: int, call: str) -> None:
    if status:
        raise RuntimeError(f"{call} failed")
