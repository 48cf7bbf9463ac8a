"""`sge-serve export`: what it refuses, and what it leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from service.commands.export import ExportArguments, run
from service.config import Settings
from service.engines.onnx_file import OnnxRequest, require_exporter
from service.errors import BadRequest, BadSetting, StoreError
from service.store.load import LoadedModel


@pytest.fixture
def arguments(tmp_path: Path) -> ExportArguments:
    """The tiny model's logits."""
    return ExportArguments("tiny", tmp_path / "model.onnx", "uint8", "", "gate")


def test_a_model_is_written_whole(store: Path, arguments: ExportArguments) -> None:
    """Over what was there, with a line that says what it takes and gives."""
    arguments.file.write_bytes(b"an older one")
    said: list[str] = []

    def write(model: LoadedModel, request: OnnxRequest, path: Path) -> None:
        path.write_text(f"{model.key} {request.outputs}")

    asked = replace(arguments, blocks="last")
    code = run(Settings(model_store=store), asked, said.append, write)

    assert code == 0
    assert arguments.file.read_text() == "tiny/1 ['logits', 'gate_layer4.1']"
    assert said[0].startswith(f"wrote tiny/1 to {arguments.file}, 0.0 MB, opset 18: ")
    assert said[0].endswith("pixels (batch, 3, 32, 32) uint8 to logits, gate_layer4.1")


def test_an_export_that_fails_leaves_what_was_there(
    store: Path, arguments: ExportArguments
) -> None:
    """And nothing beside it."""
    arguments.file.write_bytes(b"an older one")

    def write(_: LoadedModel, __: OnnxRequest, path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    with pytest.raises(BadSetting, match=r"--onnx .* cannot be written: No space left"):
        run(Settings(model_store=store), arguments, lambda _: None, write)
    assert arguments.file.read_bytes() == b"an older one"
    assert [path.name for path in arguments.file.parent.iterdir() if path.is_file()] == [
        "model.onnx"
    ]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "other"}, StoreError, "no model in"),
        ({"model": "tiny/7"}, StoreError, "no model in"),
        ({"blocks": "layer9"}, BadRequest, "no block 'layer9', there are: last"),
        ({"file": Path("/absent/model.onnx")}, BadSetting, "--onnx .* cannot be written: No such"),
        ({"file": Path("/")}, BadSetting, "--onnx / cannot be written: is a directory"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(
    store: Path, arguments: ExportArguments, changes: dict[str, object], error: type, message: str
) -> None:
    """Before the model is traced."""
    with pytest.raises(error, match=message):
        run(Settings(model_store=store), replace(arguments, **changes), lambda _: None)  # type: ignore[arg-type]


def test_what_writes_onnx_is_an_extra() -> None:
    """Where it is missing, the line says how to have it."""
    with pytest.raises(
        BadSetting, match=r"needs onnx and onnxscript: pip install 'sge-serve\[onnx\]"
    ):
        require_exporter(lambda _: False)
