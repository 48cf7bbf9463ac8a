"""`sge-serve export`: write a model as an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.commands.contents import load_contents
from service.commands.whole_file import require_writable, writing_whole
from service.config import Settings
from service.engines.onnx_file import (
    OPSET,
    InputKind,
    MapKind,
    OnnxRequest,
    require_exporter,
    write_onnx,
)
from service.results.mask_request import parse_blocks
from service.serving.choice import choose_model
from service.store.load import LoadedModel

Say = Callable[[str], None]
Write = Callable[[LoadedModel, OnnxRequest, Path], None]


@dataclass(frozen=True, slots=True)
class ExportArguments:
    """What a person asks of the command.

    Attributes:
        model: `name`, for the latest version, or `name/version`.
        file: where the model goes.
        input: what its pixels are.
        blocks: a comma list as `masks` of a request; empty for none.
        kind: of the blocks' maps.
    """

    model: str
    file: Path
    input: InputKind
    blocks: str
    kind: MapKind


def run(settings: Settings, arguments: ExportArguments, say: Say, write: Write = write_onnx) -> int:
    """Write the file, whole or not at all, over one that is there.

    Args:
        settings: say where the models are.
        arguments: of the command.
        say: prints for whoever started it.
        write: writes a model into a file.

    Returns:
        0.

    Raises:
        BadSetting: what writes ONNX is not installed, or the file cannot be written.
        StoreError: the model cannot be loaded.
        BadInput: there is no such version, or a block that the model does not have.
    """
    require_exporter()
    require_writable("--onnx", arguments.file)
    name, _, version = arguments.model.partition("/")
    settings = settings.model_copy(update={"models": (arguments.model,)})
    model = choose_model(load_contents(settings, say).models, None, name, version or None)
    blocks = parse_blocks(arguments.blocks, model.manifest.spec.blocks())
    request = OnnxRequest(arguments.input, blocks, arguments.kind)
    with writing_whole("--onnx", arguments.file) as beside:
        write(model, request, beside)
        size_mb = beside.stat().st_size / 1e6
    side = model.manifest.input.size_px
    say(
        f"wrote {model.key} to {arguments.file}, {size_mb:.1f} MB, opset {OPSET}: pixels "
        f"(batch, 3, {side}, {side}) {arguments.input} to {', '.join(request.outputs)}"
    )
    return 0
