"""What gRPC reads from the environment when it is loaded."""

from __future__ import annotations

import os


def quiet_grpc() -> None:
    """Let gRPC write no lines of its own: clients could have it write as many as they like.

    What they do wrong the service says itself. Whoever sets gRPC's variable is heard. To be called
    before gRPC is loaded.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
