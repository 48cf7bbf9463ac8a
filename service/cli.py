"""The command `sge-serve` and its subcommands. The only module that prints."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from service import __version__
from service.commands.background import in_background, own_temporary_folder
from service.commands.extras import require_extras
from service.commands.flags import add_settings, fields_of, settings_of
from service.commands.importing.request import add_import_flags, request_of
from service.commands.memory import without_collections
from service.commands.parsers import (
    add_evaluate,
    add_export,
    add_predict,
    engines_of,
    settings_of_each,
)
from service.config import Settings, bound_openmp_waiting, describe_invalid, flag_of
from service.errors import BadRequest, EngineFailed, ServiceError
from service.results.query import PredictQuery
from service.store.files import folders_in

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_SETTING = 2
EXIT_INTERRUPTED = 130  # as a shell tells of Ctrl-C


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; None takes the process's own.

    Returns:
        0 when it did what was asked, 1 when an input or the engine failed, 2 when a setting, the
        store or the command line is wrong, 130 after Ctrl-C, 3 from `compile` alone. Standard
        error has one line on it, and further ones where it lists what is wrong.
    """
    bound_openmp_waiting()
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.command(parsed))
    except ValidationError as error:
        return _complain(describe_invalid(error))
    except ServiceError as error:
        code = EXIT_FAILED if isinstance(error, EngineFailed) else EXIT_BAD_SETTING
        return _complain(*error.lines, code=code)
    except KeyboardInterrupt:
        return _complain("interrupted", code=EXIT_INTERRUPTED)
    except BrokenPipeError:  # whoever read has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        return EXIT_FAILED


def say(text: str) -> None:
    """Print for whoever started the command, at once even into a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print what is no answer, beside what somebody may read from standard output."""
    _complain(*text.splitlines())


def _complain(*lines: str, code: int = EXIT_BAD_SETTING) -> int:
    # They may hold names out of a file.
    shown = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    print("sge-serve: " + "\n".join(shown), file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sge-serve",
        allow_abbrev=False,
        description="Classify images and show what each channel group looks at.",
        epilog="Settings are flags or variables: --max-batch 8 is SGE_MAX_BATCH=8; a flag wins.",
    )
    parser.add_argument("--version", action="version", version=f"sge-serve {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = functools.partial(commands.add_parser, allow_abbrev=False)
    _add_serve(add("serve", help="run the service"))
    predict = add("predict", help="classify files without a server")
    predict.set_defaults(command=_predict)
    add_predict(predict)
    evaluate = add("evaluate", help="how right a model is on a folder for each class")
    evaluate.set_defaults(command=_evaluate)
    add_evaluate(evaluate)
    export = add("export", help="write a model as an ONNX file")
    export.set_defaults(command=_export)
    add_export(export)
    _add_import(add("import", help="turn a checkpoint into a model version"))
    _add_check(add("check", help="validate settings and store, serve nothing"))
    _add_compile(add("compile", help="build ahead what the service builds when it starts"))
    _add_key(add("key", help="make an API key"))
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_serve)
    add_settings(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_check)
    add_settings(parser)


def _add_compile(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_compile)
    parser.add_argument(
        "--background",
        action="store_true",
        help="as a service does it: only compile, give way, and give up when input is closed",
    )
    add_settings(parser)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_import)
    add_import_flags(parser)


def _add_key(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    new = actions.add_parser("new", allow_abbrev=False, help="make one, and print it this once")
    new.set_defaults(command=_new_key)
    new.add_argument("name", metavar="NAME", help="by which logs and metrics show its requests")
    new.add_argument(
        "--file", type=Path, metavar="FILE", help="of the keys (default SGE_API_KEYS_FILE)"
    )


def _query_of(parsed: argparse.Namespace) -> PredictQuery:
    try:
        return PredictQuery(**fields_of(parsed, PredictQuery))
    except ValidationError as error:
        raise BadRequest(describe_invalid(error, flag_of)) from error


def _serve(parsed: argparse.Namespace) -> int:
    settings = settings_of(parsed)
    require_extras(settings)
    from service.commands.beforehand import prepare

    start = prepare(settings, say)
    with without_collections():
        from service.commands import serve  # torch takes seconds to import; a wrong flag should not

    return serve.run(settings, start, say=say)


def _check(parsed: argparse.Namespace) -> int:
    settings = settings_of(parsed)
    require_extras(settings)
    from service.commands.beforehand import look_ahead

    look_ahead(settings, say)
    from service.commands import check

    return check.run(settings, say=say)


def _compile(parsed: argparse.Namespace) -> int:
    settings = settings_of(parsed)
    folders_in(settings.model_store)
    with in_background() if parsed.background else own_temporary_folder():
        from service.commands import compile as compile_command

        if parsed.background:
            return compile_command.run_for_service(settings)
        return compile_command.run(settings, say=say)


def _predict(parsed: argparse.Namespace) -> int:
    settings, query = settings_of(parsed), _query_of(parsed)
    folders_in(settings.model_store)
    from service.commands import predict

    arguments = predict.PredictArguments(
        files=tuple(parsed.files),
        query=query,
        folder=parsed.save_masks,
        as_json=parsed.json,
        csv=parsed.csv,
        jsonl=parsed.jsonl,
    )
    return predict.run(settings, arguments, say=say, warn=warn)


def _evaluate(parsed: argparse.Namespace) -> int:
    settings = settings_of(parsed)
    engines = engines_of(parsed.engine, settings.engine)
    each = settings_of_each(engines, settings.precision)
    chosen = [Settings(**{**dict(settings), **changes}) for changes in each]
    folders_in(settings.model_store)
    from service.commands import evaluate

    arguments = evaluate.EvaluateArguments(
        folder=parsed.folder,
        model=parsed.model,
        version=parsed.version,
        classes=parsed.classes,
        json=parsed.json,
        html=parsed.html,
    )
    return evaluate.run(chosen, arguments, say=say, warn=warn)


def _export(parsed: argparse.Namespace) -> int:
    settings = _settings_with_store(parsed)
    folders_in(settings.model_store)
    from service.commands import export

    arguments = export.ExportArguments(
        model=parsed.model,
        file=parsed.onnx,
        input=parsed.input,
        blocks=parsed.blocks,
        kind=parsed.kind,
    )
    return export.run(settings, arguments, say=say)


def _settings_with_store(parsed: argparse.Namespace) -> Settings:
    """The environment's settings, for a command of which the store alone is a flag."""
    overrides = {} if parsed.model_store is None else {"model_store": parsed.model_store}
    return Settings(**overrides)


def _import(parsed: argparse.Namespace) -> int:
    settings, request = _settings_with_store(parsed), request_of(parsed)
    from service.commands import import_model

    return import_model.run(settings, request, say=say)


def _new_key(parsed: argparse.Namespace) -> int:
    from service.commands import key

    made, file = key.new(parsed.name, parsed.file)
    say(made)
    print(f"added {parsed.name} to {file}; its key is shown only here", file=sys.stderr)
    return EXIT_OK
