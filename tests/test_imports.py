"""Importing the service changes nothing: what holds for the process is set at its start."""

from __future__ import annotations

import subprocess
import sys

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


def test_importing_every_module_changes_nothing() -> None:
    """No filter of warnings, variable, handler, thread or setting of torch is another then."""
    changed = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True
    )

    assert changed.stdout == ""
