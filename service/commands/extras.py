"""Packages that a setting needs and not every installation has."""

from __future__ import annotations

import importlib.util

from service.config import Settings
from service.errors import BadSetting

OF_GRPC = ("grpc", "grpc_health", "google.protobuf")
MESSAGES = "service.api.v2.grpc.open_inference_pb2"


def require_extras(settings: Settings) -> None:
    """Refuse settings that cannot be met, before anything is loaded that takes long.

    Raises:
        BadSetting: gRPC is to be served, and is not installed.
    """
    if settings.grpc_port is None:
        return
    if not all(_is_there(name) for name in OF_GRPC):
        raise BadSetting(
            f"SGE_GRPC_PORT={settings.grpc_port} needs gRPC: pip install 'sge-serve[grpc]'"
        )
    if not _is_there(MESSAGES):
        raise BadSetting(
            f"SGE_GRPC_PORT={settings.grpc_port} needs the classes of its messages, which are made "
            f"when the package is built; in a checkout: python setup.py messages"
        )


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
