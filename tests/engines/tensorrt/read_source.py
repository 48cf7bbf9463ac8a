"""Write down what a release of Torch-TensorRT converts and takes, from its source alone.

The package cannot be imported without TensorRT and a GPU, so its wheel is read as text:

    pip download --no-deps torch-tensorrt==VERSION
    python -m tests.engines.tensorrt.read_source torch_tensorrt-VERSION-*.whl

This overwrites `torch_tensorrt.json` beside this file, which the tests compare the service with:

- `converters`: per operation, each converter with whether it takes a dynamic batch, the name of the
  check that may still refuse a node, and the arguments it reads (null: all of them);
- `decompositions`: the operations that are decomposed before conversion, by torch (`enabled`), or
  by a function of the package, with what that one calls (`own`), and those kept whole (`disabled`);
- `passes`: the operations that lowering erases or replaces;
- `signatures`: of what `service/engines/tensorrt/engine.py` calls.
"""

from __future__ import annotations

import argparse
import ast
import json
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any

from tests.engines.tensorrt.calls import LIBRARY, calls_of

RECORD = Path(__file__).with_name("torch_tensorrt.json")
CONVERTERS = "torch_tensorrt/dynamo/conversion/"
LOWERING = "torch_tensorrt/dynamo/lowering/"


class Wheel:
    """The Python files and the metadata of an unopened wheel."""

    def __init__(self, path: Path) -> None:
        self.archive = zipfile.ZipFile(path)
        self.names = set(self.archive.namelist())

    def tree(self, name: str) -> ast.Module:
        """The syntax tree of a file."""
        return ast.parse(self.archive.read(name), name)

    def file_of(self, module: str) -> str | None:
        """The file of a dotted module; None for one outside the wheel."""
        stem = module.replace(".", "/")
        return next((n for n in (f"{stem}/__init__.py", f"{stem}.py") if n in self.names), None)

    def metadata(self) -> Any:
        """The fields of METADATA."""
        name = next(name for name in self.names if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(self.archive.read(name).decode())

    def definition(self, dotted: str) -> ast.ClassDef | ast.FunctionDef:
        """Follow the imports of a public name to where it is defined.

        Raises:
            LookupError: the release has no such name.
        """
        module, _, name = dotted.rpartition(".")
        found = self._definition_in(module, name, set())
        if found is None:
            raise LookupError(f"this release has no {dotted}")
        return found

    def _definition_in(
        self, module: str, name: str, seen: set[str]
    ) -> ast.ClassDef | ast.FunctionDef | None:
        file = self.file_of(module)
        if file is None or module in seen:
            return None
        seen.add(module)
        for node in ast.walk(self.tree(file)):
            match node:
                case ast.ClassDef(name=found) | ast.FunctionDef(name=found) if found == name:
                    return node
                case ast.ImportFrom(names=names) if {a.name for a in names} & {name, "*"}:
                    source = imported_module(node, module, is_package=file.endswith("__init__.py"))
                    if definition := self._definition_in(source, name, seen):
                        return definition
        return None


def imported_module(node: ast.ImportFrom, importer: str, *, is_package: bool) -> str:
    """The dotted module that `from ... import` names, relative or not."""
    if not node.level:
        return node.module or ""
    parts = importer.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *filter(None, [node.module])])


def operation(node: ast.AST) -> str:
    """An operation's name without where it is looked up: `aten.add.Tensor`."""
    return ast.unparse(node).removeprefix("torch.ops.")


def read_converters(wheel: Wheel) -> dict[str, list[dict[str, Any]]]:
    """Every converter that is registered on import, whatever is installed."""
    converters: dict[str, list[dict[str, Any]]] = {}
    files = [n for n in wheel.names if n.startswith(CONVERTERS) and n.endswith(".py")]
    for name in sorted(files):
        for function in wheel.tree(name).body:
            for key, converter in registrations(function):
                converters.setdefault(key, []).append(converter)
    return dict(sorted(converters.items()))


def registrations(function: ast.stmt) -> Iterator[tuple[str, dict[str, Any]]]:
    """The operations that a function's decorators register it for."""
    if not isinstance(function, ast.FunctionDef):
        return
    positions, keywords = arguments_read(function)
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(func=ast.Name(id="dynamo_tensorrt_converter"), args=[key, *_]):
                given = {keyword.arg: keyword.value for keyword in decorator.keywords}
                check = given.get("capability_validator")
                yield (
                    operation(key),
                    {
                        "dynamic": is_true(given.get("supports_dynamic_shapes")),
                        "check": check and ast.unparse(check),
                        "positions": positions,
                        "keywords": keywords,
                    },
                )


def is_true(node: ast.expr | None) -> bool:
    """Whether an argument is the constant True."""
    return isinstance(node, ast.Constant) and node.value is True


def arguments_read(function: ast.FunctionDef) -> tuple[list[int] | None, list[str] | None]:
    """Which of a node's arguments a converter looks at, by position and by keyword."""
    body = ast.Module(function.body, [])
    return constants_read(body, "args"), constants_read(body, "kwargs")


def constants_read(body: ast.AST, variable: str) -> Any:
    """The constants by which `variable` is indexed; None where it is used in any other way."""
    constants, known_uses = set(), 0
    for node in ast.walk(body):
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)):
                pass
            case ast.Call(args=[ast.Name(id=name), ast.Constant(value=key), *_]):
                pass  # args_bounds_check(args, key, ...)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="get"),
                args=[ast.Constant(value=key), *_],
            ):
                pass
            case ast.Compare(left=ast.Constant(value=key), comparators=[ast.Name(id=name)]):
                pass  # key in kwargs
            case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)]):
                key = None
            case _:
                continue
        if name == variable:
            known_uses += 1
            constants.add(key)
    uses = sum(isinstance(node, ast.Name) and node.id == variable for node in ast.walk(body))
    return sorted(constants - {None}) if uses == known_uses else None


def read_decompositions(wheel: Wheel) -> dict[str, Any]:
    """What is decomposed before conversion."""
    groups = {}
    for node in wheel.tree(f"{LOWERING}_decomposition_groups.py").body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Set(elts=elements)):
                groups[name] = sorted(operation(element) for element in elements)
    own = {}
    for node in wheel.tree(f"{LOWERING}_decompositions.py").body:
        match node:
            case ast.FunctionDef(decorator_list=decorators):
                own.update({key: operations_called(node) for key in registered(decorators)})
            case ast.Expr(ast.Call(func=ast.Name(id="replace_inplace_op"), args=[key, outplace])):
                own[operation(key)] = [operation(outplace)]
    return {
        "enabled": groups["torch_enabled_decompositions"],
        "disabled": groups["torch_disabled_decompositions"],
        "own": dict(sorted(own.items())),
    }


def registered(decorators: list[ast.expr]) -> Iterator[str]:
    """The operations that a decomposition's decorators name."""
    for decorator in decorators:
        match decorator:
            case ast.Call(func=ast.Name(id="register_torch_trt_decomposition"), args=[key, *_]):
                yield operation(key)


def operations_called(function: ast.FunctionDef) -> list[str]:
    """What a decomposition calls: operations, and functions of torch."""
    body = ast.walk(ast.Module(function.body, []))
    names = {operation(node.func) for node in body if isinstance(node, ast.Call)}
    return sorted(name for name in names if name.startswith(("aten.", "torch.")))


def read_passes(wheel: Wheel) -> dict[str, Any]:
    """The operations that lowering removes without a trace, or puts another in the place of."""
    asserts = wheel.tree(f"{LOWERING}passes/remove_assert_nodes.py")
    erased = [
        operation(node.comparators[0])
        for node in ast.walk(asserts)
        if isinstance(node, ast.Compare)
    ]
    pooling = wheel.tree(f"{LOWERING}passes/replace_max_pool_with_indices.py")
    replaced = {
        operation(old): operation(new)
        for node in ast.walk(pooling)
        if isinstance(node, ast.Dict)
        for old, new in zip(filter(None, node.keys), node.values, strict=True)
    }
    return {
        "erased": sorted(name for name in erased if name.startswith("aten.")),
        "replaced": replaced,
    }


def read_signature(wheel: Wheel, dotted: str) -> dict[str, Any]:
    """What a class or a function takes; of a bare **kwargs, the keys that it looks up."""
    found = wheel.definition(dotted)
    if isinstance(found, ast.ClassDef):
        methods = [node for node in found.body if isinstance(node, ast.FunctionDef)]
        found = next(method for method in methods if method.name == "__init__")
    arguments = found.args
    positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args) if a.arg != "self"]
    keywords = [*positional, *(argument.arg for argument in arguments.kwonlyargs)]
    optional = positional[len(positional) - len(arguments.defaults) :] if arguments.defaults else []
    optional += [
        a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d
    ]
    if not keywords:
        keywords = sorted(looked_up(found, "kwargs"))
        optional = keywords
    return {
        "positional": positional,
        "keywords": keywords,
        "required": [name for name in keywords if name not in optional],
    }


def looked_up(function: ast.FunctionDef, variable: str) -> set[str]:
    """The constant keys that a function reads from a dictionary."""
    return {
        node.slice.value
        for node in ast.walk(function)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        and ast.unparse(node.value) == variable
    }


def read_wheel(path: Path) -> dict[str, Any]:
    """Everything that the tests compare the service with."""
    wheel = Wheel(path)
    metadata = wheel.metadata()
    requirements = metadata.get_all("Requires-Dist")
    return {
        "version": metadata["Version"],
        "torch": next(r.removeprefix("torch") for r in requirements if r.startswith("torch<")),
        "signatures": {call.name: read_signature(wheel, call.name) for call in calls_of(LIBRARY)},
        "passes": read_passes(wheel),
        "decompositions": read_decompositions(wheel),
        "converters": read_converters(wheel),
    }


def as_text(record: dict[str, Any]) -> str:
    """JSON with one line for each entry of the second level, so that a new release diffs well."""
    lines = []
    for section, content in record.items():
        if isinstance(content, dict):
            entries = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in content.items()]
            lines.append(f"  {json.dumps(section)}: {{\n" + ",\n".join(entries) + "\n  }")
        else:
            lines.append(f"  {json.dumps(section)}: {json.dumps(content)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Read the wheel that the command line names."""
    parser = argparse.ArgumentParser(description="Record what a Torch-TensorRT wheel holds.")
    parser.add_argument("wheel", type=Path)
    RECORD.write_text(as_text(read_wheel(parser.parse_args().wheel)), encoding="utf-8")


if __name__ == "__main__":
    main()
