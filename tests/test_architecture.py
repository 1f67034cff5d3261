"""The rules that keep the folders apart, read from the source tree itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Packages of the project that each package may import, besides itself.
MAY_IMPORT = {
    "pro_video": set(),
    "tasks": {"pro_video"},
    "flows": {"pro_video", "tasks"},
    "gateway": {"pro_video", "tasks", "flows"},
    "deployments": {"pro_video", "tasks", "flows"},
    "sandbox": set(),
}
PRODUCT = [name for name in MAY_IMPORT if name != "sandbox"]
# The one module that talks to the terminal with print.
PRINTS = {"sandbox/__main__.py"}
LONGEST = 400
MEDIAN = 160


def modules(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    own = {*MAY_IMPORT, "tests", "benchmarks"}
    allowed = {package, *MAY_IMPORT[package]}
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for path in modules(package)
        for line, name in imported(path)
        if (top := name.partition(".")[0]) in own and top not in allowed
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


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_modules_are_short(package: str) -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(package)
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
    middle = sorted(lengths.values())[len(lengths) // 2]
    assert middle <= MEDIAN


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
        for path in modules(*MAY_IMPORT)
        if name_of(path) not in PRINTS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in ("print", "pprint", "breakpoint")
    ]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    wrong = [
        name_of(path)
        for path in modules(*MAY_IMPORT)
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
