"""What no single module can hold: the direction of imports, who prints, what the documents say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from starlette.routing import Route

import service
from service import errors
from service.api import operations, v1
from service.api.errors import STATUS_OF
from service.api.v2 import repository, statistics
from service.api.v2 import routes as v2
from service.config import ENV_PREFIX, Settings, variable_of
from service.metrics import Metrics

PACKAGE = Path(service.__file__).parent
ROOT = PACKAGE.parent
README = ROOT / "README.md"
README_WORDS = 1800
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*ROOT.glob("*.md"), *DOCS, *PACKAGE.rglob("*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")  # of text or of a picture

# Each room, lowest first, and the rooms that it may import beside itself and `SHARED`. A file that
# lies beside the folders is a room of its own; "" is the package itself.
SHARED = {"", "errors", "config"}
ROOMS: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "config": set(),
    "cores": set(),
    "logs": set(),
    "metrics": set(),
    "tracing": set(),
    "images": set(),
    "model": set(),
    "store": {"images", "model"},
    "engines": {"cores", "images", "model", "store"},
    "results": {"model"},
    "evaluation": {"results"},
    "serving": {"cores", "metrics", "tracing", "images", "model", "store", "engines", "results"},
    "api": {"metrics", "tracing", "model", "store", "results", "serving"},
    "app": {"api", "serving"},
    "commands": {
        *("app", "api", "cores", "engines", "evaluation", "images", "logs"),
        *("metrics", "model", "results", "serving", "store", "tracing"),
    },
    "cli": {"commands", "results", "store"},
    "__main__": {"cli"},
}

EDGE = {"api", "app"}
PICKLERS = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# What ends the service as it starts has an exit code instead of a status.
AT_START = (errors.StoreError, errors.BadSetting)


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the service as a dotted name below the package, with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        steps = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(step for step in steps if step != "__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a module imports, wherever in the file it does."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)


def names_used(tree: ast.Module) -> set[str]:
    """The names and attributes that a module's code mentions, and what it imports by name."""
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return mentioned | attributes | {name.rpartition(".")[2] for name in imports(tree)}


def part_of(name: str) -> str:
    """The room of a name below the package: `engines` for `engines.base`."""
    part = name.partition(".")[0]
    return "" if part == "__version__" else part


def called_on(library: str) -> set[str]:
    """The attributes of a library that the service uses, and what it imports from it by name."""
    used = {
        node.attr
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == library
    }
    return used | {
        name.removeprefix(f"{library}.")
        for _, tree in modules()
        for name in imports(tree)
        if name.startswith(f"{library}.")
    }


def users_of(*names: str) -> set[str]:
    """The modules whose code mentions one of the names."""
    return {module for module, tree in modules() if names_used(tree) & set(names)}


def importers_of(*libraries: str) -> set[str]:
    """The parts of the service that import one of the libraries."""
    return {
        part_of(module)
        for module, tree in modules()
        for name in imports(tree)
        if name.partition(".")[0] in libraries
    }


def test_every_module_has_a_room() -> None:
    """The table of rooms names those that exist, no more and no fewer."""
    assert set(ROOMS) == {part_of(name) for name, _ in modules()}


def test_a_room_imports_only_what_its_contract_names() -> None:
    """Imports point one way, and no room knows more of the others than it needs."""
    strangers = [
        f"{importer} imports {name}"
        for importer, tree in modules()
        for name in imports(tree)
        if name.startswith("service.")
        and part_of(name.removeprefix("service."))
        not in ROOMS[part_of(importer)] | SHARED | {part_of(importer)}
    ]

    assert strangers == []


def test_no_two_rooms_import_each_other() -> None:
    """A room comes after every room that it may import."""
    order = list(ROOMS)

    later = [
        (room, other)
        for room, others in ROOMS.items()
        for other in others
        if order.index(other) > order.index(room)
    ]

    assert later == []


def test_no_import_is_relative() -> None:
    """Imports give the whole path, so that the test of their direction sees all of them."""
    levels = {
        (name, node.level)
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }

    assert {name for name, level in levels if level > 0} == set()


def test_only_the_command_line_prints() -> None:
    """The service writes to its log; what a person reads in a terminal is the command's."""
    assert users_of("print") <= {"cli"}


def test_only_the_settings_read_the_environment() -> None:
    """An operator finds every variable in one folder."""
    users = users_of("environ", "environb", "getenv", "putenv")

    assert {part_of(module) for module in users} <= {"config"}


def test_only_the_edge_knows_of_http() -> None:
    """Stages, engines and models can be used without a web framework."""
    assert importers_of("fastapi", "starlette") <= EDGE


def test_nothing_is_unpickled() -> None:
    """No file and no message can bring code along; torch's refusals are pickle's by type."""
    assert importers_of(*PICKLERS) == set()
    assert called_on("pickle") <= {"UnpicklingError"}


def test_torch_loads_weights_only() -> None:
    """Every file in torch's own format is read by its restricted reader."""
    calls = [
        {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]

    assert [call for call in calls if call.get("weights_only") != "True"] == []
    assert calls


def test_every_error_has_a_status() -> None:
    """No error of a request falls through to a nameless 500."""
    of_requests = {
        error
        for error in vars(errors).values()
        if isinstance(error, type)
        and issubclass(error, errors.ServiceError)
        and not issubclass(error, AT_START)
    }

    assert set(STATUS_OF) == of_requests - {errors.ServiceError}


def rows(page: str, prefix: str) -> set[str]:
    """The rows of a page's tables whose first cell begins with a prefix in code."""
    return {line for line in text_of(page).splitlines() if line.startswith(f"| `{prefix}")}


def text_of(page: str) -> str:
    """What a page of `docs/` says."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def links_of(text: str) -> list[str]:
    """The files to which a text links, relative to its own folder."""
    targets = [link.partition("#")[0] for link in LINK.findall(text)]
    return [target for target in targets if target and "://" not in target]


def test_the_documents_list_every_setting() -> None:
    """An operator finds each variable with its default and its meaning, as the code has them."""
    assert rows("settings.md", ENV_PREFIX) == {
        f"| `{variable_of(name)}` "
        f"| {'empty' if field.default in ((), '') else str(field.default).lower()} "
        f"| {field.description} |"
        for name, field in Settings.model_fields.items()
    }


def test_the_documents_name_no_setting_that_is_not_there() -> None:
    """Whoever sets what a page names has set something."""
    text = "".join(page.read_text(encoding="utf-8") for page in (README, *DOCS))

    named = set(re.findall(rf"\b{ENV_PREFIX}[A-Z][A-Z_]*\b", text))

    assert named == {variable_of(name) for name in Settings.model_fields}


def test_the_documents_list_every_metric() -> None:
    """A dashboard's author finds each metric, its labels and meaning, and none that is gone."""
    registry = CollectorRegistry()
    metrics = vars(Metrics(registry)).values()
    labels = {m._name: m._labelnames for m in metrics if isinstance(m, MetricWrapperBase)}

    assert rows("monitoring.md", "sge_") == {
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` "
        f"| {', '.join(labels[family.name])} | {family.documentation.removesuffix('.')} |"
        for family in registry.collect()
    }


def test_the_documents_name_every_route() -> None:
    """A client's author finds each route."""
    routers = (
        *(v1.router, v2.router, repository.router, statistics.router),
        *(operations.router, operations.metrics_router, operations.page_router),
    )
    paths = {
        route.path for router in routers for route in router.routes if isinstance(route, Route)
    }
    text = text_of("api.md") + text_of("open-inference-protocol.md")

    assert len(paths) == 24
    below = re.compile(r"/v2/models/\{name\}(/versions/\{version\})?(/ready|/config|/stats)?")
    unnamed = {path for path in paths if f" {path}`" not in text}
    assert {path for path in unnamed if not below.fullmatch(path)} == set()


def test_links_of_the_documents_lead_somewhere() -> None:
    """Every relative link and picture of the documents is a file or a folder that is there."""
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        for link in links_of(page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]

    assert broken == []


def test_no_page_waits_for_what_is_to_be_filled_in() -> None:
    """A line of capital letters alone, as FIGURES, stands for text that somebody meant to write."""
    waiting = [
        f"{page.relative_to(ROOT)}: {word}"
        for page in PAGES
        for word in re.findall(r"^[A-Z]+$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    assert waiting == []


def test_the_architecture_and_the_decisions_name_files_that_are_there() -> None:
    """A reader who looks for a feature finds the file that does it."""
    strays = [
        f"{page.name}: {name}"
        for page in PACKAGE.rglob("*.md")
        for name in re.findall(r"`([\w/]+\.(?:py|sh|cpp|h))`", page.read_text(encoding="utf-8"))
        if not any((folder / name).exists() for folder in (PACKAGE, ROOT))
    ]

    assert strays == []


def test_the_tests_that_hold_the_security_are_there() -> None:
    """Each defence that is promised names a test, and every test named exists."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promised = [line for line in text.splitlines() if line.startswith("| ")][1:]
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", tests, re.MULTILINE))

    assert [row for row in promised if "`test_" not in row] == []
    assert set(re.findall(r"`(test_\w+)`", text)) - there == set()
    assert len(promised) > 10


def test_the_readme_is_short() -> None:
    """It is read before anything runs; what is more stands in `docs/`."""
    assert len(README.read_text(encoding="utf-8").split()) <= README_WORDS


def test_the_readmes_figures_are_those_of_the_pages_it_names() -> None:
    """What the README states as measured stands in the page to which its row links."""
    measured = README.read_text(encoding="utf-8").partition("## Measured")[2].partition("## ")[0]
    sources = {
        row: "".join((ROOT / link).read_text(encoding="utf-8") for link in links_of(row))
        for row in measured.splitlines()
        if links_of(row)
    }

    strays = [
        f"{figure} in {row}"
        for row, source in sources.items()
        for figure in re.findall(r"\d+\.\d+", row)
        if figure not in source
    ]
    assert len(sources) == 8
    assert strays == []
