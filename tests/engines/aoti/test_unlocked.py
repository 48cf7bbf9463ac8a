"""Programs called past the GIL: the same results, and other threads run meanwhile."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import aot_compile
from torch._inductor.package.package import package_aoti

from service.engines.aoti.unlocked import UnlockedProgram, load_unlocked
from tests.engine_builders import needs_compiler

SIDE = 1500  # a product of matrices that takes long beside the switch of two threads
PRODUCTS = 8

pytestmark = [needs_compiler, pytest.mark.slow]


class Powers(nn.Module):
    """Long enough to be seen from another thread; two outputs."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Multiply (n, n) by itself, again and again."""
        power = x
        for _ in range(PRODUCTS):
            power = power @ x
        return [power, x.sum(dim=1)]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with one program, `powers`."""
    example = (torch.zeros(SIDE, SIDE),)
    with torch.no_grad():
        exported = torch.export.export(Powers(), example).module(check_guards=False)
        files: Any = aot_compile(exported, example, options={"aot_inductor.package": True})
    path = tmp_path_factory.mktemp("unlocked") / "powers.pt2"
    package_aoti(str(path), {"powers": files})
    return path


@pytest.fixture(scope="module")
def program(package: Path) -> UnlockedProgram:
    """The program, loaded."""
    with package.open("rb") as file:
        return load_unlocked(file, "powers")


def test_it_computes_what_the_network_does(program: UnlockedProgram) -> None:
    """Every output, for inputs that differ; the list of inputs is emptied, the tensors stay."""
    for seed in (1, 2):
        x = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) / SIDE
        inputs = [x]

        given = program(inputs)

        torch.testing.assert_close(given, Powers()(x))
        assert inputs == []
        assert x.isfinite().all()


def test_other_threads_run_meanwhile(program: UnlockedProgram) -> None:
    """With the lock held the other thread would not count at all between start and end."""
    counts: list[int] = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.wait(0.001):
            counts[0] += 1

    other = threading.Thread(target=count)
    other.start()
    try:
        x = torch.rand(SIDE, SIDE) / SIDE
        program([x])
        before, began = counts[0], time.perf_counter()
        program([x])
        after, seconds = counts[0], time.perf_counter() - began
    finally:
        stop.set()
        other.join()

    assert seconds > 0.02
    assert after - before >= 3


def test_a_program_that_is_not_there_is_named(package: Path) -> None:
    """An error of ours instead of the loader's."""
    with (
        package.open("rb") as file,
        pytest.raises(RuntimeError, match=r"^the package holds no program called front$"),
    ):
        load_unlocked(file, "front")


def test_a_package_may_stand_behind_something_else(package: Path, tmp_path: Path) -> None:
    """As behind the checksum of a kept file."""
    path = tmp_path / "kept"
    path.write_bytes(bytes(32) + package.read_bytes())
    x = torch.rand(SIDE, SIDE) / SIDE
    with path.open("rb") as file:
        file.seek(32)

        given = load_unlocked(file, "powers")([x])

    torch.testing.assert_close(given, Powers()(x))


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    """As what a torch of another kind would leave behind."""
    with pytest.raises(RuntimeError, match=r"^the file is no package$"):
        load_unlocked(io.BytesIO(b"x" * 100), "powers")


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    """The loader's own words are in the message."""
    library = tmp_path / "front.so"
    library.write_bytes(b"x" * 100)

    with pytest.raises(RuntimeError, match=r"^front\.so cannot be loaded: .*invalid ELF header"):
        UnlockedProgram(library)
