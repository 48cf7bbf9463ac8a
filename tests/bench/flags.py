"""The flags of `make bench`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from service.commands.flags import add_settings
from service.config import Settings

Subject = Literal["engines", "decode", "service", "profile"]

LONGEST_MINUTES = 1440  # a day
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
_SETTINGS: dict[str, set[str]] = {
    "engines": {"device", "threads", "cache_dir"},
    "decode": {"model_store", "cache_dir"},
    "profile": {"threads", "cache_dir"},
    "service": {
        *("device", "threads", "cache_dir", "engine", "precision"),
        *("max_batch", "window_ms", "decode_threads"),
    },
}


@dataclass(frozen=True, slots=True)
class BenchArguments:
    """What a person asks of a bench; None and empty leave it to the bench.

    Attributes:
        subject: what is measured.
        json: a file for the JSON document, or `-` to print it instead of the table.
        plot: a file for the picture.
        quick: a coarser answer in a fraction of the time: of engines a smaller network, one batch
            size, no int8, no start-up, and peers only on the network as it is written.
        minutes: that measuring engines may take.
        rounds: exactly as many.
        arch: the network that gets random weights, with `size` pixels a side and `groups`.
        engines: only rows of these.
        precisions: only these; bf16 is left out where the processor merely emulates it.
        batch: sizes to measure.
        model: decode as for this one of the store, and compare what it answers.
        pictures: a folder of pictures to compare on.
    """

    subject: Subject
    json: str | None = None
    plot: Path | None = None
    quick: bool = False
    minutes: float | None = None
    rounds: int | None = None
    arch: str | None = None
    size: int = 224
    groups: int = 64
    engines: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    batch: tuple[int, ...] = ()
    model: str | None = None
    pictures: Path | None = None


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give the bench its subjects and each of them its flags."""
    subjects = parser.add_subparsers(required=True, metavar="WHAT", dest="subject")
    for subject, about, add in (
        ("engines", "our engines and their peers on one network", _add_engines),
        ("decode", "decoding and scaling against Pillow's", _add_decode),
        ("service", "the service over loopback against its engine", _add_network),
        ("profile", "where a forward pass spends its time, with SGE and without", _add_profile),
    ):
        flags = subjects.add_parser(subject, help=about, description=about, allow_abbrev=False)
        _add_common(flags)
        add(flags)
        add_settings(flags, [n for n in Settings.model_fields if n not in _SETTINGS[subject]])


def arguments_of(parsed: argparse.Namespace) -> BenchArguments:
    """What was asked for."""
    given = vars(parsed)
    return BenchArguments(
        **{f.name: given[f.name] for f in fields(BenchArguments) if f.name in given}
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="print JSON, or write it to FILE"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rows, as .png or .svg")
    parser.add_argument("--quick", action="store_true", help="coarser, in a fraction of the time")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="exactly as many")


def _add_engines(parser: argparse.ArgumentParser) -> None:
    _add_network(parser)
    parser.add_argument(
        "--engines",
        type=_words,
        metavar="NAME,...",
        default=(),
        help="only these of eager, compiled, int8, tensorrt, onnxruntime, openvino",
    )
    parser.add_argument(
        "--precisions",
        type=_precisions,
        metavar="NAME,...",
        default=(),
        help="only these of fp32, bf16, fp16, int8; by default all that the processor has, "
        "with --quick without int8",
    )
    parser.add_argument(
        "--batch",
        type=_sizes,
        metavar="N,...",
        default=(),
        help="batch sizes (default 1,8,32; with --quick 8)",
    )
    parser.add_argument(
        "--minutes",
        type=_minutes,
        metavar="N",
        help="how long it may take (default 10; with --quick 2); for what there is no time is "
        "left out, and named",
    )


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="of the store: aim at its input, compare its answers")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="compare on the pictures in a folder, too"
    )


def _add_profile(parser: argparse.ArgumentParser) -> None:
    _add_network(parser)
    parser.add_argument(
        "--batch", type=_one_size, metavar="N", default=(), help="images at a time (default 8)"
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--arch",
        help="network, with random weights (default sge_resnet50; engines --quick: sge_resnet18)",
    )
    parser.add_argument("--size", type=_positive, default=224, help="side of its input in pixels")
    parser.add_argument("--groups", type=_positive, default=64, help="channel groups")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _precisions(text: str) -> tuple[str, ...]:
    words = _words(text)
    for word in words:
        if word not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise argparse.ArgumentTypeError(f"{word!r} is no precision, known are: {known}")
    return words


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(word) for word in _words(text)))


def _one_size(text: str) -> tuple[int, ...]:
    return (_positive(text),)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < LONGEST_MINUTES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number between 0 and {LONGEST_MINUTES}"
        )
    return minutes


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)
