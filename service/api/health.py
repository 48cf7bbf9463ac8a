"""Whether the service lives, and whether it can answer."""

from __future__ import annotations

from typing import Any

from service.serving.admission import Admission
from service.serving.served_model import ServedModel
from service.serving.served_models import ServedModels


def readiness(models: ServedModels, admission: Admission) -> dict[str, Any]:
    """What `/readyz` says: whether to send requests here, and where each model stands."""
    return {
        "ready": models.are_ready and not admission.is_leaving,
        "draining": admission.is_leaving,
        "models": {model.loaded.key: engine_state(model) for model in models},
        "broken": {broken.key: broken.error.message for broken in models.broken},
    }


def is_answering(model: ServedModel, admission: Admission) -> bool:
    """Whether to send requests for a model here."""
    return model.is_ready and not admission.is_leaving


def engine_state(model: ServedModel) -> dict[str, str | None]:
    """The engine of a model and its tier, with the reason where it is not the one asked for."""
    engine = model.engine
    return {
        "name": engine.name,
        "precision": engine.precision,
        "device": engine.device,
        "tier": model.tier,
        "fallback_reason": model.fallback_reason,
    }
