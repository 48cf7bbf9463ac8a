"""What a build for a GPU needs beside torch: CUDA's headers, and the driver to link against."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from service.errors import EngineFailed

# Of what a program's wrapper includes, one file of each package that wheels bring it in: the
# runtime comes with torch, `crt` and `nv` with the extra `cuda`.
HEADERS = ("cuda.h", "cuda_runtime_api.h", "crt/host_defines.h", "nv/target")
DRIVER = "libcuda.so"  # as `-lcuda` looks for it; many drivers bring only `libcuda.so.1`

_VERSION = re.compile(r"^#define CUDA_VERSION (\d+)", re.MULTILINE)
_MAPS = Path("/proc/self/maps")


@contextlib.contextmanager
def offered_cuda(folder: Path) -> Iterator[None]:
    """Show torch a CUDA to build against, for as long as it builds.

    torch looks for headers and for libraries in one place. No place that is sure to be there has
    both, so one is made of links.

    Args:
        folder: is made.

    Raises:
        EngineFailed: there are no such headers, or no driver.
    """
    from torch.utils import cpp_extension  # noqa: PLC0415 - takes a second

    toolkit = cpp_extension.CUDA_HOME
    candidates = [*([Path(toolkit)] if toolkit else []), *folders_of_wheels()]
    driver = library_in(_MAPS.read_text(encoding="utf-8"), DRIVER)
    if driver is None:
        raise EngineFailed("the driver of the GPU, libcuda.so.1, is not loaded")
    link_cuda(folder, cuda_with_headers(candidates, str(torch.version.cuda)), driver)
    cpp_extension.CUDA_HOME = str(folder)
    try:
        yield
    finally:
        cpp_extension.CUDA_HOME = toolkit


def folders_of_wheels() -> list[Path]:
    """The folders into which wheels put CUDA; any of them may lack what a build needs."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else None
    return [path for place in places or () for path in sorted(Path(place).glob("cu[0-9]*"))]


def cuda_with_headers(candidates: Sequence[Path], version: str) -> Path:
    """The first folder with every header that a build needs, of torch's own major version.

    Args:
        candidates: folders of CUDA, whose headers are below `include`.
        version: of the CUDA that torch was made for, such as `13.0`.

    Raises:
        EngineFailed: there is none; it says what each of them lacks.
    """
    reasons = {path: why_not(path, version) for path in candidates}
    for path, reason in reasons.items():
        if reason is None:
            return path
    lacks = "; ".join(f"{path} {reason}" for path, reason in reasons.items())
    raise EngineFailed(
        f"a build for a GPU needs the headers of CUDA {version}: pip install 'sge-serve[cuda]'"
        + (f" ({lacks})" if lacks else "")
    )


def why_not(cuda: Path, version: str) -> str | None:
    """What stands in the way of building against a folder of CUDA; None where nothing does."""
    include = cuda / "include"
    missing = [name for name in HEADERS if not (include / name).is_file()]
    if missing:
        return f"lacks {', '.join(missing)}"
    found = _VERSION.search((include / "cuda.h").read_text(encoding="utf-8", errors="replace"))
    major = int(found.group(1)) // 1000 if found else None
    return None if str(major) == version.partition(".")[0] else f"is of CUDA {major}"


def library_in(maps: str, name: str) -> Path | None:
    """Where a process has a shared library from; None where it has none of that name.

    Args:
        maps: what `/proc/self/maps` says.
        name: how the file's name begins, as `libcuda.so` does for `libcuda.so.580.65.06`.
    """
    paths = (Path(line[line.index("/") :]) for line in maps.splitlines() if "/" in line)
    return next(
        (path for path in paths if re.fullmatch(rf"{re.escape(name)}[.\d]*", path.name)), None
    )


def link_cuda(folder: Path, cuda: Path, driver: Path) -> None:
    """Make a folder that looks like CUDA's: `include` of one, and `lib64` with the driver alone."""
    libraries = folder / "lib64"
    libraries.mkdir(parents=True)
    (folder / "include").symlink_to(cuda / "include")
    (libraries / DRIVER).symlink_to(driver)
