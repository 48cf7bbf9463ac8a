"""Importing the service changes nothing, and whoever computes nothing does not wait for torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_builders import no_cuda

IMPORT_ALL = """
import ctypes, logging, os, pkgutil, sys, threading, warnings
import torch, torchvision, PIL._imaging, fastapi, uvicorn, structlog, prometheus_client

def state():
    return {
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "handlers": list(logging.getLogger().handlers),
        "threads": threading.active_count(),
        "metrics": list(prometheus_client.REGISTRY._collector_to_names),
        "Python's C interface": ctypes.pythonapi.PyCapsule_New.argtypes,
        "TF32": torch.backends.cudnn.allow_tf32,
        "torch's threads": torch.get_num_threads(),
    }

import service
before = state()
for module in pkgutil.walk_packages(service.__path__, "service."):
    if module.name not in {"service.__main__", "service.engines.aoti.quantise"}:  # runs; torchao
        __import__(module.name)
after = state()
print(*(name for name in before if before[name] != after[name]), sep="\\n", end="")
"""

RUN_COMMAND = """
import sys
from service.cli import run
try:
    code = run(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = [name for name in ("torch", "torchvision", "numpy", "fastapi") if name in sys.modules]
print(code, *heavy, file=sys.stderr)
"""


def test_importing_every_module_changes_nothing() -> None:
    """No filter of warnings, variable, handler, thread or setting of torch is another then."""
    changed = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True
    )

    assert changed.stdout == ""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--version", 0),
        ("--help", 0),
        ("serve --help", 0),
        ("predict --help", 0),
        ("import --help", 0),
        ("evaluate --help", 0),
        ("export --help", 0),
        ("key new --help", 0),
        ("key new client --file {folder}/keys", 0),
        ("serve --port none", 2),
        ("serve --model-store {folder}/nowhere", 2),
        ("serve --model-store {folder} --api-keys-file {folder}/nowhere", 2),
        ("serve --model-store {folder} --admin-key-file {folder}", 2),
        (
            "serve --model-store {folder} --tls-cert-file {folder} --tls-key-file {folder}/nowhere",
            2,
        ),
        ("serve --model-store {folder} --host 192.0.2.1 --port 0", 2),
        ("check --model-store {folder}/nowhere", 2),
        ("check --model-store {folder} --api-keys-file {folder}/nowhere", 2),
        ("serve --model-store {folder}", 2),
        ("serve --model-store {store} --models nope", 2),
        ("serve --model-store {store} --default-model nope", 2),
        ("check --model-store {store} --models nope", 2),
        ("check --model-store {store} --default-model nope", 2),
        pytest.param("serve --model-store {store} --device cuda", 2, marks=no_cuda),
        pytest.param("check --model-store {store} --device cuda", 2, marks=no_cuda),
        ("serve --model-store {store} --engine tensorrt --device cpu", 2),
        pytest.param("check --model-store {store} --engine tensorrt", 2, marks=no_cuda),
        ("compile --model-store {folder}/nowhere", 2),
        ("predict picture.png --model-store {folder}/nowhere", 2),
        ("evaluate pictures --model-store {folder}/nowhere", 2),
        ("export model --onnx model.onnx --model-store {folder}/nowhere", 2),
        ("check --max-batch 0", 2),
        ("compile --engine fast", 2),
        ("predict picture.png --top-k 0", 2),
        ("predict picture.png --csv a --jsonl b", 2),
        ("evaluate pictures --engine eager,fast", 2),
        ("export model --onnx model.onnx --input int8", 2),
    ],
)
def test_a_command_that_computes_nothing_imports_nothing_that_computes(
    tmp_path: Path, tiny_version: Path, line: str, code: int
) -> None:
    """Help, a key or a wrong flag is answered at once: torch alone takes seconds to import.

    In a process of its own, which has imported nothing yet.
    """
    arguments = line.format(folder=tmp_path, store=tiny_version.parents[1]).split()

    ended = subprocess.run(
        [sys.executable, "-c", RUN_COMMAND, *arguments], capture_output=True, text=True, check=True
    )

    assert ended.stderr.splitlines()[-1] == str(code)
