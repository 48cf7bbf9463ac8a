"""Serving imports no compiler, and whoever wants one still finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import service.commands.serve
from pathlib import Path
from service.store.load import load_store
(model,) = load_store(Path(sys.argv[1])).models
print([name for name in ("torch._dynamo", "torch._dynamo.utils", "torchao") if name in sys.modules])
from torchvision.ops import roi_align
asked = roi_align.__globals__["is_compile_supported"]("cpu")
from torch._dynamo.utils import is_compile_supported
print(asked is is_compile_supported("cpu"), "torch._dynamo" in sys.modules)
"""


def test_the_service_and_a_model_are_loaded_without_the_compiler(store: Path) -> None:
    """Nor torchao, which takes seconds as well; torchvision's question is then answered by torch.

    In a process of its own, which has imported nothing yet.
    """
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(store)], capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines() == ["[]", "True True"]
