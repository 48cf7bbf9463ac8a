"""The flags of `make bench`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from service.commands.flags import add_settings
from service.config import Settings

LONGEST_MINUTES = 1440  # a day
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
_OF_A_DEVICE = {"device", "threads", "cache_dir"}
_SETTINGS: dict[str, set[str]] = {
    "engines": _OF_A_DEVICE,
    "decode": {"model_store", "cache_dir"},
    "service": _OF_A_DEVICE | {"engine", "precision", "max_batch", "window_ms", "decode_workers"},
    "predict": _OF_A_DEVICE | {"engine", "precision", "max_batch", "decode_workers", "model_store"},
    "profile": {"threads", "cache_dir"},
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, by which Python leaves where it is wrong.

    Returns:
        The flags, of which None and empty leave it to the bench, and the settings of the service
        that were given.
    """
    parser = argparse.ArgumentParser(
        prog='make bench ARGS="..."',
        allow_abbrev=False,
        description="Measure engines, decoding or the service.",
    )
    subjects = parser.add_subparsers(required=True, metavar="WHAT", dest="subject")
    for subject, about, add in (
        ("engines", "our engines and their peers on one network", _add_engines),
        ("decode", "decoding and scaling against Pillow's", _add_decode),
        ("service", "the service over loopback against its engine", _add_network),
        ("predict", "a folder of pictures through the command against its engine", _add_predict),
        ("profile", "where a forward pass spends its time, with SGE and without", _add_profile),
    ):
        flags = subjects.add_parser(subject, help=about, description=about, allow_abbrev=False)
        _add_common(flags.add_argument)
        add(flags.add_argument)
        add_settings(flags, [n for n in Settings.model_fields if n not in _SETTINGS[subject]])
    return parser.parse_args(arguments)


Add = Callable[..., argparse.Action]


def _add_common(add: Add) -> None:
    add("--json", nargs="?", const="-", metavar="FILE", help="print JSON, or write it to FILE")
    add("--plot", type=Path, metavar="FILE", help="draw the rows, as .png or .svg")
    add("--quick", action="store_true", help="coarser, in a fraction of the time")
    add("--rounds", type=_positive, metavar="N", help="exactly as many")


def _add_network(add: Add) -> None:
    default = "default sge_resnet50; engines --quick: sge_resnet18"
    add("--arch", help=f"network, with random weights ({default})")
    add("--size", type=_positive, default=224, help="side of its input in pixels")
    add("--groups", type=_positive, default=64, help="channel groups")


def _add_engines(add: Add) -> None:
    _add_network(add)
    only = "only these of eager, compiled, int8, tensorrt, onnxruntime, openvino"
    add("--engines", type=_words, default=(), metavar="NAME,...", help=only)
    precisions = (
        f"only these of {', '.join(PRECISIONS)}; by default all that the processor has, "
        "with --quick without int8"
    )
    add("--precisions", type=_precisions, default=(), metavar="NAME,...", help=precisions)
    sizes = "batch sizes (default 1,8,32; with --quick 8)"
    add("--batch", type=_sizes, default=(), metavar="N,...", help=sizes)
    minutes = (
        "how long it may take (default 10; with --quick 2); for what there is no time is left "
        "out, and named"
    )
    add("--minutes", type=_minutes, metavar="N", help=minutes)


def _add_decode(add: Add) -> None:
    add("--model", help="of the store: aim at its input, compare its answers")
    add("--pictures", type=Path, metavar="DIR", help="compare on the pictures in a folder, too")


def _add_predict(add: Add) -> None:
    _add_network(add)
    add("--model", help="of the store, instead of a network with random weights")


def _add_profile(add: Add) -> None:
    _add_network(add)
    add("--batch", type=_positive, default=8, metavar="N", help="images at a time (default 8)")


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
