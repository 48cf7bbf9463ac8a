"""The kernels compiled for this processor: to be measured here, and to be linked with a program."""

from __future__ import annotations

import atexit
import ctypes
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from service.engines.aoti.unlocked import capsule_of, pointer_of

SOURCES = Path(__file__).parent

ARCHIVE = "libsge_kernels.a"
_LIBRARY = "libsge_kernels.so"

# Sums in the order in which they are written: -ffast-math would reorder them, and spill them.
_FLAGS = (
    *("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"),
    *("-fopenmp", "-fPIC", "-fvisibility=hidden"),
)


class Kernels:
    """The kernels, called as a compiled program calls them, with the operators' arguments.

    Args:
        folder: where `compile_kernels` has put them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._library = ctypes.CDLL(str(folder / _LIBRARY))
        self.panel: int = self._library.sge_panel()
        """Output channels that are summed at a time: K and G have to be multiples of it."""

    def convolve(
        self,
        maps: Tensor,
        weights: Tensor,
        winograd: Tensor,
        bias: Tensor,
        *numbers: int,
        gates: Tensor | None = None,
        shortcut: Tensor | None = None,
    ) -> Tensor:
        """Run `operators.convolve`; `numbers` are its arguments from `side` to `relu`."""
        side, stride, padding, winograd_from, relu = numbers
        with _Handles(self._library) as handles:
            return handles.call(
                self._library.aoti_torch_cpu_convolve,
                *(handles.of(tensor) for tensor in (maps, weights, winograd, bias)),
                *(ctypes.c_int64(n) for n in (side, stride, padding, winograd_from)),
                ctypes.c_int32(relu),
                handles.of_optional(gates),
                handles.of_optional(shortcut),
            )

    def compare(self, maps: Tensor, weights: Tensor, bias: Tensor, groups: int) -> Tensor:
        """Run `operators.compare`."""
        with _Handles(self._library) as handles:
            return handles.call(
                self._library.aoti_torch_cpu_compare,
                *(handles.of(tensor) for tensor in (maps, weights, bias)),
                ctypes.c_int64(groups),
            )


class _Handles:
    """Tensors as torch's C interface names them, for one call."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._delete = library.aoti_torch_delete_tensor_object
        self._owned: list[ctypes.c_void_p] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._owned:
            self._delete(handle)

    def of(self, tensor: Tensor) -> ctypes.c_void_p:
        (capsule,) = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors([tensor])  # noqa: SLF001
        handle = ctypes.c_void_p(pointer_of(capsule, None))
        self._owned.append(handle)
        return handle

    def of_optional(self, tensor: Tensor | None) -> object:
        return None if tensor is None else ctypes.byref(self.of(tensor))

    def call(self, function: Callable[..., int], *arguments: object) -> Tensor:
        result = ctypes.c_void_p()
        if function(*arguments, ctypes.byref(result)):
            raise RuntimeError("the kernel failed")
        capsule = capsule_of(result, None, None)
        (tensor,) = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(  # noqa: SLF001
            [capsule]
        )
        return tensor


def compile_kernels(folder: Path, *flags: str) -> Kernels:
    """Compile the kernels for this processor.

    Args:
        folder: where the objects, an archive and a library are put.
        flags: more of the compiler's, as `-DSGE_LANES=16`.

    Raises:
        RuntimeError: there is no compiler, or it fails.
    """
    from torch._inductor import cpp_builder  # noqa: PLC0415 - takes seconds

    compiler = cpp_builder.get_cpp_compiler()
    torch_folder = Path(torch.__file__).parent
    sources = sorted(SOURCES.glob("*.cpp"))

    def compiled(source: Path) -> str:
        target = folder / f"{source.stem}.o"
        include = f"-I{torch_folder / 'include'}"
        _run(compiler, *_FLAGS, *flags, include, "-c", source, "-o", target)
        return str(target)

    with ThreadPoolExecutor(len(sources)) as pool:
        objects = list(pool.map(compiled, sources))
    _run("ar", "rcs", folder / ARCHIVE, *objects)
    libraries = (f"-L{torch_folder / 'lib'}", "-ltorch_cpu")
    _run(compiler, "-shared", "-fopenmp", *objects, *libraries, "-o", folder / _LIBRARY)
    return Kernels(folder)


def kernel_sources() -> tuple[str, ...]:
    """The text of the kernels: a change of it outdates what was built of them."""
    return tuple(path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]*")))


_compiled: list[Kernels] = []


def kernels_of_this_process() -> Kernels:
    """Compile the kernels, once in a process, as long as nobody clears its temporary folder.

    Raises:
        RuntimeError: there is no compiler, or it fails.
        OSError: they cannot be written, or not be loaded.
    """
    if not _compiled or not (_compiled[-1].folder / ARCHIVE).exists():
        folder = tempfile.mkdtemp(prefix="sge-kernels-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _compiled.append(compile_kernels(Path(folder)))
    return _compiled[-1]


def linking_options(kernels: Kernels) -> dict[str, Any]:
    """The options of torch's compiler that link a program with the kernels."""
    from service.engines.aoti.kernels.operators import C_SHIMS  # noqa: PLC0415 - only a build

    # torch asks for names of libraries and not for folders; its command is split as by a shell.
    return {
        "aot_inductor.custom_ops_to_c_shims": C_SHIMS,
        "aot_inductor.custom_op_libs": [f":{ARCHIVE} -L{shlex.quote(str(kernels.folder))}"],
        # It need not try whether the compiler makes code for this processor: it just has.
        "cpp.vec_isa_ok": True,
    }


def _run(*command: str | Path) -> None:
    try:
        subprocess.run(  # noqa: S603 - the compiler
            [str(word) for word in command], check=True, capture_output=True, text=True
        )
    except OSError as error:
        raise RuntimeError(f"{command[0]} cannot be run: {error}") from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{command[0]} failed: {error.stderr[-2000:]}") from error
