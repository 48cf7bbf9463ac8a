"""Settings that need packages which not every installation has."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from service.cli import run
code = run(sys.argv[2:])
print(code, "torch" in sys.modules, file=sys.stderr)
"""

WITHOUT_GRPC = """
import sys
sys.modules["grpc"] = None
import service.commands.serve
print("google.protobuf" in sys.modules)
"""


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("grpc", "pip install 'sge-serve[grpc]'"),
        ("grpc_health", "pip install 'sge-serve[grpc]'"),
        ("google,google.protobuf", "pip install 'sge-serve[grpc]'"),
        ("service.api.v2.grpc.open_inference_pb2", "python setup.py messages"),
    ],
)
def test_a_port_for_grpc_needs_grpc(command: str, missing: str, remedy: str) -> None:
    """What is to be installed is said at once, before torch is loaded."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, command, "--grpc-port", "0"],
        capture_output=True,
        text=True,
        check=True,
    )

    told, last = ended.stderr.splitlines()
    assert told.startswith("sge-serve: SGE_GRPC_PORT=0 needs ")
    assert told.endswith(remedy)
    assert last == "2 False"


def test_without_a_port_nothing_of_grpc_is_loaded() -> None:
    """Whoever does not serve it needs none of it, and pays nothing for it."""
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_GRPC,
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == "False\n"
