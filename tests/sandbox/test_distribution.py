"""The sandbox and the product are two distributions, and each has only what is its own."""

import ast
import importlib.metadata
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[2]
SANDBOX = ROOT / "sandbox"


def project(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return read


@pytest.mark.parametrize("folder", [ROOT, SANDBOX], ids=["product", "sandbox"])
def test_the_wheel_has_every_module_of_its_own_and_no_other(folder: Path, tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(folder)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {
        "tests",
        "benchmarks",
        "examples",
    }
    wanted = {"sandbox"} if folder == SANDBOX else packages - {"sandbox"}
    modules = [path for name in wanted for path in (ROOT / name).rglob("*.py")]
    # Beside its modules the product has files for deployments, and the registration reads one.
    data = {name for name in packed if not name.endswith(".py")}
    assert packed - data == {path.relative_to(ROOT).as_posix() for path in modules}
    assert all(name.startswith("deployments/") for name in data)
    assert ("deployments/prefect.yaml" in data) is (folder == ROOT)


def test_the_sandbox_requires_what_it_imports() -> None:
    names = {
        name.partition(".")[0]
        for path in SANDBOX.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    distributions = importlib.metadata.packages_distributions()
    foreign = names - set(sys.stdlib_module_names) - {"sandbox"}
    required = {re.split(r"[^\w.-]", each)[0] for each in project(SANDBOX)["dependencies"]}
    # Starlette imports it to read forms.
    assert {distributions[name][0].lower() for name in foreign} == required - {"python-multipart"}


def test_both_support_the_same_pythons() -> None:
    assert project(SANDBOX)["requires-python"] == project(ROOT)["requires-python"]


def test_its_command_is_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = project(SANDBOX)["scripts"]
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=command)
    with pytest.raises(SystemExit) as ended:
        script.load()(["--help"])
    assert ended.value.code == 0
    assert "sample" in capsys.readouterr().out
