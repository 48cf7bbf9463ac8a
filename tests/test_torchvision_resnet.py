"""Serving imports no compiler, and whoever wants one still finds it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import service.commands.serve
from service.store import load_store
(model,) = load_store(service.config.Settings().model_store).bundles
print("torch._dynamo" in sys.modules, "torch._dynamo.utils" in sys.modules)
from torchvision.ops import roi_align
asked = roi_align.__globals__["is_compile_supported"]("cpu")
from torch._dynamo.utils import is_compile_supported
print(asked is is_compile_supported("cpu"), "torch._dynamo" in sys.modules)
"""


def test_the_service_is_imported_without_the_compiler() -> None:
    """In a process of its own, a model included; torchvision's question is then answered."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines() == ["False False", "True True"]
