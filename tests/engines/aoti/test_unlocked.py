"""Programs called past the GIL: the same results, and other threads run meanwhile."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._inductor.cpp_builder import get_cpp_compiler

from service.engines.aoti.build import FlatNetwork
from service.engines.aoti.engine import CompiledEngine
from service.engines.aoti.package import NETWORK
from service.engines.aoti.unlocked import UnlockedProgram, load_unlocked

LONG = 256  # images: a pass takes long beside the switch of two threads


def pixels(count: int, seed: int = 1) -> Tensor:
    """Images of noise (B, 3, 32, 32) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def program(compiled_engine: CompiledEngine) -> UnlockedProgram:
    """The short network; its package stands behind the checksum of a kept file."""
    package = compiled_engine.files.open(compiled_engine.key)
    assert package is not None
    with package:
        return load_unlocked(package, NETWORK)


def test_it_computes_what_the_network_does(
    program: UnlockedProgram, compiled_engine: CompiledEngine
) -> None:
    """Every output, for inputs that differ; the list of inputs is emptied, the tensors stay."""
    network = FlatNetwork(compiled_engine.fused_graph("fp32"))
    for seed in (1, 2):
        batch = pixels(2, seed)
        inputs = [batch]

        given = program(inputs)

        torch.testing.assert_close(given, network(batch), rtol=1e-4, atol=1e-4)
        assert inputs == []
        assert torch.equal(batch, pixels(2, seed))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what is mapped")
def test_its_file_holds_no_second_copy_of_the_weights(
    program: UnlockedProgram, compiled_engine: CompiledEngine
) -> None:
    """What is mapped of libraries that were loaded is their code."""
    program([pixels(1)])

    assert mapped_bytes("/aotinductor/") < compiled_engine.model.weight_bytes / 4


def mapped_bytes(folder: str) -> int:
    """What is in memory of the files below a folder that this process has mapped."""
    total, is_below = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            is_below = folder in line
        elif name == "Rss:" and is_below:
            total += 1024 * int(values[0])
    return total


HIDING = """
extern "C" {
int AOTInductorModelContainerCreateWithDevice(void**, std::size_t, const char*, const char*) {
  return 0;
}
int AOTInductorModelContainerGetNumOutputs(void*, std::size_t* outputs) { *outputs = 3; return 0; }
int AOTInductorModelContainerRunSingleThreaded() { return 0; }
int AOTInductorModelContainerDelete(void*) { return 0; }
}
"""


def test_a_library_that_hides_its_weights_is_loaded_with_them(tmp_path: Path) -> None:
    """They take memory twice then, which is no reason to refuse it."""
    source, library = tmp_path / "hiding.cpp", tmp_path / "hiding.so"
    source.write_text(f"#include <cstddef>\n{HIDING}", encoding="utf-8")
    compiler = get_cpp_compiler()
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)

    program = UnlockedProgram(library)

    assert program._outputs == 3


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
        program([pixels(LONG)])
        before, began = counts[0], time.perf_counter()
        program([pixels(LONG)])
        after, seconds = counts[0], time.perf_counter() - began
    finally:
        stop.set()
        other.join()

    assert seconds > 0.02
    assert after - before >= 3


def test_a_program_that_is_not_there_is_named(compiled_engine: CompiledEngine) -> None:
    """An error of ours instead of the loader's."""
    package = compiled_engine.files.open(compiled_engine.key)
    assert package is not None
    with (
        package,
        pytest.raises(RuntimeError, match=r"^the package holds no program called powers$"),
    ):
        load_unlocked(package, "powers")


def test_what_is_no_package_is_refused() -> None:
    """As what a torch of another kind would leave behind."""
    with pytest.raises(RuntimeError, match=r"^the file is no package$"):
        load_unlocked(io.BytesIO(b"x" * 100), NETWORK)


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    """The loader's own words are in the message."""
    library = tmp_path / "front.so"
    library.write_bytes(b"x" * 100)

    with pytest.raises(RuntimeError, match=r"^front\.so cannot be loaded: .*invalid ELF header"):
        UnlockedProgram(library)
