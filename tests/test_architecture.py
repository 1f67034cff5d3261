"""The rules that keep the folders apart, read from the source tree itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Packages that each package may import, besides itself and what is below it in this table.
_PRO_VIDEO = {
    "pro_video.core": set[str](),
    "pro_video.net": {"pro_video.core"},
    "pro_video.s3": {"pro_video.core", "pro_video.net"},
    "pro_video.media": {"pro_video.core"},
    "pro_video.request": {"pro_video.core", "pro_video.media"},
    "pro_video.providers": {
        "pro_video.core",
        "pro_video.net",
        "pro_video.media",
        "pro_video.request",
    },
    "pro_video.judging": {
        "pro_video.core",
        "pro_video.media",
        "pro_video.request",
        "pro_video.providers",
    },
    "pro_video.pricing": {"pro_video.core", "pro_video.media", "pro_video.request"},
    "pro_video.records": {
        "pro_video.core",
        "pro_video.media",
        "pro_video.s3",
        "pro_video.judging",
        "pro_video.pricing",
    },
    "pro_video.webhooks": {"pro_video.core", "pro_video.net", "pro_video.records"},
    "pro_video.client": {"pro_video.core", "pro_video.request"},
}
MAY_IMPORT = {
    **_PRO_VIDEO,
    "tasks.connections": {"pro_video"},
    "tasks.callbacks": {"pro_video", "tasks.connections"},
    "tasks.webhooks": {"pro_video", "tasks.connections"},
    "tasks.run": {"pro_video", "tasks.connections", "tasks.webhooks"},
    "tasks.attempts": {"pro_video", "tasks.connections", "tasks.callbacks", "tasks.run"},
    "tasks": {"pro_video"},
    "tasks.cleanup": {"pro_video", "tasks"},
    "flows": {"pro_video", "tasks"},
    "gateway": {"pro_video", "tasks", "flows"},
    "deployments": {"pro_video", "tasks", "flows"},
    "sandbox": set[str](),
}
TOP = ["pro_video", "tasks", "flows", "gateway", "deployments", "sandbox"]
PRODUCT = [name for name in TOP if name != "sandbox"]
# The one module that talks to the terminal with print.
PRINTS = {"sandbox/__main__.py"}
# Lines of a function, without its docstring and without the functions inside it.
LONGEST = 60
MOST_IMPORTS = 21
MOST_FILES = 12


def modules(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name_of(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each imported module, wherever in the file the import stands."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            yield node.lineno, node.module or ""


def package_of(name: str) -> str:
    """The longest package of the table that a module, or a name in it, belongs to."""
    while name not in MAY_IMPORT and name:
        name = name.rpartition(".")[0]
    return name


def test_imports_go_one_way() -> None:
    wrong = []
    for path in modules(*TOP):
        own = package_of(name_of(path).removesuffix(".py").replace("/", "."))
        allowed = MAY_IMPORT.get(own, set())
        for line, name in imported(path):
            top = name.partition(".")[0]
            package = package_of(name)
            if top not in {*TOP, "tests", "benchmarks", "examples"} or package == own:
                continue
            if not {package, top} & allowed and not package.startswith(f"{own}."):
                wrong.append(f"{name_of(path)}:{line}: {name}")
    assert wrong == []


def test_the_table_of_imports_has_no_cycle() -> None:
    order = list(MAY_IMPORT)
    wrong = [
        f"{name} imports {other}"
        for name, others in MAY_IMPORT.items()
        for other in others
        if other in order and order.index(other) > order.index(name)
    ]
    assert wrong == []


# The packages of the gateway; each may import itself and those before it.
GATEWAY = (
    "base",
    "prefect_client",
    "bucket",
    "auth",
    "uploads",
    "status",
    "forms",
    "jobs",
    "estimates",
    "events",
    "callbacks",
    "app",
)


def test_imports_inside_the_gateway_go_one_way() -> None:
    folders = {path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")}
    assert folders == set(GATEWAY)
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for rank, package in enumerate(GATEWAY)
        for path in modules(f"gateway/{package}")
        for line, name in imported(path)
        if name.partition(".")[0] == "gateway"
        and f"{name}.".split(".")[1] not in GATEWAY[: rank + 1]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["pro_video", "sandbox"])
def test_the_work_itself_knows_no_prefect(package: str) -> None:
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for path in modules(package)
        for line, name in imported(path)
        if name.partition(".")[0] in ("prefect", "prefect_aws")
    ]
    assert wrong == []


# The demo's own process looks at the file that its user names on the command line.
READS_ITSELF = {"deployments/local/demo_job.py"}


def readers() -> set[tuple[str, str]]:
    """Module and name of each function that opens media: it takes a `reading.Source`."""
    return {
        (name_of(path).removesuffix(".py").replace("/", "."), node.name)
        for path in modules("pro_video")
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef)
        if re.search(r"\b(Source|BoundedReader)\b", ast.unparse(node.args))
    }


@pytest.mark.parametrize("package", ["tasks", "flows", "gateway", "deployments"])
def test_media_are_opened_by_processes_with_limits(package: str) -> None:
    """Functions that open media are named, for `examine`, and never called."""
    opening = readers()
    assert ("pro_video.media.probe", "probe") in opening
    wrong = []
    for path in modules(package):
        if name_of(path) in READS_ITSELF:
            continue
        wrong += [
            f"{name_of(path)}: av" for _, name in imported(path) if name.split(".")[0] == "av"
        ]
        known = {
            alias.asname or alias.name
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if (node.module, alias.name) in opening
        }
        wrong += [
            f"{name_of(path)}:{node.lineno}: {node.func.id}"
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if node.func.id in known
        ]
    assert wrong == []


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    def lines(node: ast.stmt) -> int:
        return (node.end_lineno or node.lineno) - node.lineno + 1

    inside = sum(
        lines(each)
        for each in function.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    docstring = lines(function.body[0]) if ast.get_docstring(function) else 0
    return lines(function) - inside - docstring


def test_functions_fit_on_a_screen() -> None:
    wrong = [
        f"{name_of(path)}:{function.lineno}: {function.name}, {lines_of(function)} lines"
        for path in modules(*TOP, "tests", "benchmarks")
        for function in functions_of(path)
        if lines_of(function) > LONGEST
    ]
    assert wrong == []


def test_modules_need_few_others() -> None:
    counts = {
        name_of(path): len({name for _, name in imported(path) if name.partition(".")[0] in TOP})
        for path in modules(*TOP)
    }
    assert {name: count for name, count in counts.items() if count > MOST_IMPORTS} == {}


def test_folders_have_few_files() -> None:
    files: dict[str, int] = {}
    for path in modules(*TOP, "tests", "benchmarks", "examples"):
        if path.name != "__init__.py":
            files[name_of(path.parent)] = files.get(name_of(path.parent), 0) + 1
    assert {folder: count for folder, count in files.items() if count > MOST_FILES} == {}
    alone = {folder for folder, count in files.items() if count == 1 and len(parts_of(folder)) < 2}
    assert {folder for folder in alone if not folder.startswith("tests/")} == set()


def parts_of(folder: str) -> list[Path]:
    """Modules and packages directly in a folder."""
    return [
        each
        for each in (ROOT / folder).iterdir()
        if each.name != "__init__.py" and (each.suffix == ".py" or (each / "__init__.py").exists())
    ]


def broad_handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {each.id for each in caught if isinstance(each, ast.Name)}
            if node.type is None or names & {"Exception", "BaseException"}:
                yield node


def test_no_error_is_hidden_by_a_broad_except() -> None:
    """A broad handler passes the error on, or its line says why it must not."""
    wrong = []
    for path in modules(*PRODUCT):
        lines = path.read_text(encoding="utf-8").splitlines()
        for handler in broad_handlers(path):
            nodes = list(ast.walk(handler))
            raises = any(isinstance(node, ast.Raise) for node in nodes)
            # The traceback goes into the log.
            tells = any(
                isinstance(node, ast.Attribute) and node.attr == "exception" for node in nodes
            )
            reason = lines[handler.lineno - 1].partition("# noqa: BLE001 - ")[2]
            if not (raises or tells or reason.strip()):
                wrong.append(f"{name_of(path)}:{handler.lineno}")
    assert wrong == []


def test_nothing_is_printed() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules(*TOP)
        if name_of(path) not in PRINTS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in ("print", "pprint", "breakpoint")
    ]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    wrong = [
        name_of(path)
        for path in modules(*TOP)
        if path.read_text(encoding="utf-8").strip() and not ast.get_docstring(tree_of(path))
    ]
    assert wrong == []


def test_both_providers_have_the_same_files() -> None:
    """One file that only one protocol needs is allowed to each: a signature, a callback."""
    one, other = (
        {path.name for path in (ROOT / "pro_video/providers" / provider).glob("*.py")}
        for provider in ("sync_so", "ghostcut")
    )
    assert {"client.py", "models.py", "status.py", "responses.py"} <= one & other
    assert len(one - other) <= 1
    assert len(other - one) <= 1
