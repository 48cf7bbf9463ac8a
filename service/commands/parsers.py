"""Flags of commands that look at pictures, or write models; importing them imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from service.commands.flags import add_fields, add_settings
from service.config import Precision
from service.results.query import PredictQuery

_FOLDER = "holds a folder of pictures for each class"


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Flags of `sge-serve predict`."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="pictures, folders, quoted patterns"
    )
    add_fields(parser, PredictQuery, str.upper, taken=("mask_format",))
    parser.add_argument(
        "--save-masks",
        type=Path,
        metavar="DIR",
        help="write an overlay per group, and per class of an attribution, into DIR",
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for form in ("csv", "jsonl"):
        forms.add_argument(
            f"--{form}",
            type=Path,
            metavar="OUT",
            help="add a row for each picture to OUT; pictures that have one are passed over",
        )
    add_settings(parser, taken=("host", "port"))


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Flags of `sge-serve evaluate`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help=_FOLDER)
    parser.add_argument("--model", help="name of the model; the default one otherwise")
    parser.add_argument("--version", help="its version; the latest one otherwise")
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="which label or index each folder is, where their names do not say: JSON or CSV",
    )
    parser.add_argument(
        "--engine",
        metavar="LIST",
        help="comma list of engines to set side by side, such as eager,compiled,int8 (default "
        "eager); the others are compared with eager in fp32, or else with the first",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page to look at")
    add_settings(parser, taken=("host", "port", "engine"))


def add_export(parser: argparse.ArgumentParser) -> None:
    """Flags of `sge-serve export`."""
    parser.add_argument("model", metavar="MODEL[/VERSION]", help="the latest version otherwise")
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", required=True, help="where the model goes"
    )
    parser.add_argument(
        "--input",
        choices=("uint8", "float"),
        default="uint8",
        help="RGB from 0 to 255 as uint8, or from 0 to 1 as float32; both are normalised inside "
        "(default uint8)",
    )
    parser.add_argument(
        "--blocks",
        default="",
        help="comma list of blocks whose maps are outputs, too: last, stage1 to stage4, layer4.1, "
        "all",
    )
    parser.add_argument(
        "--kind",
        choices=("gate", "similarity"),
        default="gate",
        help="of these maps (default gate)",
    )
    parser.add_argument("--model-store", metavar="MODEL_STORE", help="folder of the models")


def engines_of(text: str | None, default: str) -> list[str]:
    """The engines of a comma list, each once; `auto`, which compiles, is taken as `eager`."""
    names = [name.strip() for name in (text or default).split(",")]
    return list(dict.fromkeys("eager" if name == "auto" else name for name in names))


def settings_of_each(engines: Sequence[str], precision: Precision) -> list[dict[str, object]]:
    """What settings are for each of several engines.

    Compiling is waited for, since no other engine answers meanwhile. Beside others, int8 has the
    precision of its own, and eager that of the trained weights, whatever is asked of the others.

    Args:
        engines: their names.
        precision: that is asked for; `auto` is fp32 of eager by itself, too.
    """
    own: dict[str, Precision] = {"int8": "auto", "eager": "fp32"}
    if len(engines) == 1:
        own = {"eager": "fp32"} if precision == "auto" else {}
    return [
        {"engine": name, "tiered": False, "precision": own.get(name, precision)} for name in engines
    ]
