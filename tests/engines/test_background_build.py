"""Compiling in a process of its own: its settings, its result, its complaints, its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.config import Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.background_build import BackgroundBuild, log_lines, require_success
from service.engines.eager import EagerEngine
from service.errors import EngineFailed
from service.store.load import load_version
from tests.engine_builders import CPU, assert_close, infer, needs_compiler, rows


def test_what_the_other_process_complains_of_is_the_reason(tmp_path: Path) -> None:
    """A model that is gone by then, in the words of the command."""
    build = BackgroundBuild(Settings(model_store=tmp_path / "gone"), "compiled", "tiny/1")

    with pytest.raises(EngineFailed, match="gone cannot be listed"):
        build(tmp_path)


@needs_compiler
@pytest.mark.slow
def test_what_another_process_compiles_computes_what_the_eager_engine_does(
    store: Path, tmp_path: Path
) -> None:
    """One image, which has a program of its own, and several; with every mask."""
    model = load_version(store / "tiny" / "1")
    settings = Settings(device="cpu", precision="fp32", max_batch=4, model_store=store)
    build = BackgroundBuild(settings, "compiled", model.key)
    engine = CompiledEngine(model, CPU, "fp32", max_batch=4, cache_dir=tmp_path, build=build)
    reference = EagerEngine(model, CPU, "fp32")
    engine.load()
    reference.load()
    every = frozenset(block.name for block in model.manifest.spec.blocks())

    for images in (rows(1), rows(1, 2, 3)):
        assert_close(infer(engine, images, every), infer(reference, images, every))


def test_what_a_process_logs_is_logged_here_and_its_complaint_is_not() -> None:
    """In the form of this log, whoever wrote it; what follows a complaint is part of it."""
    lines = [
        '{"event": "a", "level": "warning", "timestamp": "then", "size": 1}\n',
        "W1127 08:00:00.000 12 torch/utils/cpp_extension.py:183] No CUDA runtime\n",
        "\n",
        "[1]\n",
        "sge-serve: no compiler\n",
        "install g++\n",
    ]

    with capture_logs() as logged:
        complaint = log_lines(lines)

    assert complaint == "no compiler\ninstall g++"
    assert logged == [
        {"event": "a", "log_level": "warning", "size": 1},
        {"event": "compiling", "log_level": "info", "said": lines[1].strip()},
        {"event": "compiling", "log_level": "info", "said": "[1]"},
    ]


@pytest.mark.parametrize(
    ("code", "complaint", "reason"),
    [
        (1, "no compiler", "no compiler"),
        (1, "", "the process that compiles ended with exit code 1"),
        (-9, "", "was killed by signal 9, Killed; there may be too little memory"),
        (-11, "", "was killed by signal 11, Segmentation fault$"),
    ],
)
def test_how_a_process_ended_is_told(code: int, complaint: str, reason: str) -> None:
    """By its own words, else by its exit code or by what killed it."""
    require_success(0, "")

    with pytest.raises(EngineFailed, match=reason):
        require_success(code, complaint)


def test_it_ends_with_the_process_that_started_it(store: Path, tmp_path: Path) -> None:
    """Which the end of standard input tells; nothing is built for nobody."""
    flags = [f"--model-store={store}", f"--cache-dir={tmp_path / 'cache'}"]
    command = [sys.executable, "-m", "service", "compile", "--background", "--device=cpu", *flags]

    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")
    assert not (tmp_path / "cache").exists()
