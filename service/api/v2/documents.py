"""What the protocol tells of the server, its models and its repository, whichever wire it goes by.

Names are those of the protocol's JSON and of its protobuf messages, which are the same.
"""

from __future__ import annotations

from typing import Any

from service import __version__
from service.api.v2.tensors import TensorSpec
from service.api.v2.views import VIEWS, View, name_of
from service.config import Settings
from service.serving.served_models import ServedModels
from service.serving.turns import DEFAULT_PRIORITY, LOWEST_PRIORITY
from service.serving.versions import Versions

PLATFORM = "sge_serve"
EXTENSIONS = (*("binary_tensor_data", "classification", "model_configuration", "model_repository"),)
CONFIG_TYPES = {
    "UINT8": "TYPE_UINT8",
    "INT32": "TYPE_INT32",
    "FP32": "TYPE_FP32",
    "BYTES": "TYPE_STRING",
}


def describe_server(settings: Settings) -> dict[str, Any]:
    """The server's name, its version and the extensions that work."""
    has_statistics = "statistics" not in settings.closed
    extensions = [*EXTENSIONS, "statistics"] if has_statistics else list(EXTENSIONS)
    return {"name": "sge-serve", "version": __version__, "extensions": extensions}


def describe_model(view: View, models: ServedModels) -> dict[str, Any]:
    """A model's versions, inputs and outputs; -1 stands for the batch."""
    return {
        "name": name_of(view),
        "versions": [model.version for model in models.versions(view.model.name)],
        "platform": PLATFORM,
        "inputs": [_metadata_of(view.image)],
        "outputs": [_metadata_of(spec) for spec in view.outputs],
    }


def describe_config(view: View, settings: Settings) -> dict[str, Any]:
    """A model's configuration as Triton's clients read it."""
    return {
        "name": name_of(view),
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"specific": {"versions": [int(view.model.version)]}},
        "max_batch_size": min(view.model.max_batch, settings.images_limit),
        "input": [
            {**_config_of(view.image), "format": _format_of(view.image)},
        ],
        "output": [_config_of(spec) for spec in view.outputs],
        "dynamic_batching": {
            "max_queue_delay_microseconds": int(settings.window_ms * 1000),
            "priority_levels": LOWEST_PRIORITY,
            "default_priority_level": DEFAULT_PRIORITY,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": int(settings.default_timeout_ms * 1000),
                "allow_timeout_override": True,
            },
        },
    }


def list_versions(versions: Versions, *, ready: bool) -> list[dict[str, str]]:
    """Every view of every version, with its state and why it does not answer.

    Args:
        versions: of the models.
        ready: list those alone that do.
    """
    return [
        {
            "name": f"{version.name}{kind.suffix}",
            "version": version.version,
            "state": version.state,
            "reason": version.reason,
        }
        for version in versions.states()
        for kind in VIEWS
        if version.state == "READY" or not ready
    ]


def _metadata_of(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.dims]}


def _config_of(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": CONFIG_TYPES[spec.datatype], "dims": list(spec.dims)}


def _format_of(spec: TensorSpec) -> str:
    return "FORMAT_NCHW" if len(spec.dims) == 3 else "FORMAT_NONE"
