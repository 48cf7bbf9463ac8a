"""What a person asks of an import, and the flags that say it; reading them imports no torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from service.errors import BadRequest
from service.images.contract import Channels


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a person asks of an import; None leaves it to what the file says, or to what is usual.

    Attributes:
        architecture: of the network, by any alias; inferred where it is None.
        version: default 1, or one above the highest there is.
        labels: a list, a JSON map, a folder with a folder per class, or `imagenet1k`.
        stem: `small` says that a stem of 3x3 has stride 2 and no pooling, which no weight tells.
        groups: of the SGE that a plain ResNet gets, default 64; a checkpoint with SGE must agree.
        size_px: side of the square the model sees.
        source: where the file comes from; default its name.
        part: the prefix of the weights, where a file holds several networks.
        left_out: names, or prefixes of names, of what is no part of the network.
        expected: `PICTURE=CLASS`, each by an index or a label.
        is_dry_run: say everything and write nothing.
    """

    file: Path
    name: str
    architecture: str | None = None
    version: str | None = None
    labels: str | None = None
    stem: str | None = None
    groups: int | None = None
    size_px: int | None = None
    shorter_side_px: int | None = None
    crop_fraction: float | None = None
    fit: str | None = None
    interpolation: str | None = None
    mean: Channels | None = None
    std: Channels | None = None
    licence: str = "not stated"
    source: str | None = None
    part: str | None = None
    left_out: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    is_dry_run: bool = False


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """Give every field of an `ImportRequest` a flag."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help=".pth, .pt, .bin, .ckpt, .pth.tar or .safetensors"
    )
    parser.add_argument("--name", required=True, help="name of the model in the store")
    parser.add_argument("--arch", help="architecture, such as resnet50 (default: by the weights)")
    parser.add_argument(
        "--stem",
        choices=("imagenet", "small"),
        help="small: the 3x3 stem has stride 2 and no pooling, which no weight tells",
    )
    parser.add_argument("--version", help="a number; the next free one otherwise")
    parser.add_argument(
        "--labels",
        metavar="FILE|DIR|imagenet1k",
        help="a list, one label a line; a JSON map either way round; a folder per class",
    )
    parser.add_argument("--groups", type=int, help="groups to insert into a net without SGE")
    parser.add_argument("--part", metavar="NAME", help="which of several networks in the file")
    parser.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="NAME",
        help="layers that are of training alone, by a name in the file; may be repeated",
    )
    parser.add_argument("--licence", default="not stated", help="of the weights")
    parser.add_argument("--source", help="where the weights come from")
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="PICTURE=CLASS",
        help="refuse the model unless it answers so, by an index or a label; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="say all of it, write nothing")
    parser.add_argument("--model-store", metavar="MODEL_STORE", help="folder of the models")
    _add_input_flags(parser.add_argument_group("input", "By default what the file says."))


def _add_input_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--size", type=int, metavar="PX", help="side of the square (usually 224)")
    scale = group.add_mutually_exclusive_group()
    scale.add_argument(
        *("--shorter-side", "--resize"),
        type=int,
        metavar="PX",
        help="scale the shorter side to it before the centre is cut out (usually 256)",
    )
    scale.add_argument(
        "--crop-fraction", type=float, metavar="F", help="the same as size by shorter side (0.875)"
    )
    group.add_argument("--fit", choices=("crop", "fit"), help="cut the centre out, or pad")
    group.add_argument("--interpolation", choices=("bilinear", "bicubic"))
    for name in ("--mean", "--std"):
        group.add_argument(
            name, type=_channels, metavar="R,G,B", help="of values in [0, 1] (usually ImageNet's)"
        )


def request_of(parsed: argparse.Namespace) -> ImportRequest:
    """The request that a command line says.

    Raises:
        BadRequest: an expectation is not `PICTURE=CLASS`.
    """
    for text in parsed.expect:
        split_expectation(text)
    return ImportRequest(
        file=parsed.file,
        name=parsed.name,
        architecture=parsed.arch,
        stem=parsed.stem,
        version=parsed.version,
        labels=parsed.labels,
        groups=parsed.groups,
        size_px=parsed.size,
        shorter_side_px=parsed.shorter_side,
        crop_fraction=parsed.crop_fraction,
        fit=parsed.fit,
        interpolation=parsed.interpolation,
        mean=parsed.mean,
        std=parsed.std,
        licence=parsed.licence,
        source=parsed.source,
        part=parsed.part,
        left_out=tuple(parsed.leave_out),
        expected=tuple(parsed.expect),
        is_dry_run=parsed.dry_run,
    )


def split_expectation(text: str) -> tuple[Path, str]:
    """Split `PICTURE=CLASS` at its last `=`.

    Raises:
        BadRequest: it is not of that form.
    """
    picture, _, said = text.rpartition("=")
    if not picture or not said:
        raise BadRequest(f"--expect {text!r} must be PICTURE=CLASS")
    return Path(picture), said


def _channels(text: str) -> Channels:
    """Three numbers with commas between them, or one for all three channels."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers such as 0.5,0.5,0.5")
    red, green, blue = numbers * (3 // len(numbers))
    return red, green, blue
