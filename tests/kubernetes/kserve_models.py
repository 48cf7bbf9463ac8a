"""Holds a manifest against KServe's own models: kserve_models.py FILE KIND; prints faults as JSON.

Run by a Python that has them (`get_kserve_client.sh`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kserve.models
import kubernetes.client.models
import yaml

TEXT = "str|int|float|bool|object|datetime|ResourceQuantity"
PLAIN = re.compile(rf"{TEXT}|[Ll]ist\[({TEXT})\]|[Dd]ict[(\[]str, ({TEXT})[)\]]")


def model_of(kind: str) -> Any:
    """The model of a kind, KServe's or Kubernetes'; None for text, numbers and maps of them.

    Raises:
        LookupError: neither has it, and it is none of those: nothing of it would be looked at.
    """
    if PLAIN.fullmatch(kind):
        return None
    for models in (kserve.models, kubernetes.client.models):
        if found := getattr(models, kind, None):
            return found
    raise LookupError(f"no model of {kind}")


def faults_of(value: Any, kind: str, path: str = "") -> Iterator[str]:
    """The fields that a model does not know, and those that it requires and lacks."""
    if listed := re.fullmatch(r"[Ll]ist\[(\w+)\]", kind):
        for index, each in enumerate(value):
            yield from faults_of(each, listed[1], f"{path}[{index}]")
        return
    model = model_of(kind)
    if model is None:
        return
    names = {written: name for name, written in model.attribute_map.items()}
    yield from (f"{path}.{field}: {kind} has no such field" for field in set(value) - set(names))
    known = {names[field]: value[field] for field in value if field in names}
    try:
        model(**known)
    except ValueError as error:
        yield f"{path}: {error}"
    for name, below in known.items():
        yield from faults_of(
            below, model.openapi_types[name], f"{path}.{model.attribute_map[name]}"
        )


if __name__ == "__main__":
    manifest = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(list(faults_of(manifest, sys.argv[2]))))
