"""The workflow runs every part of ``.ci/run``, on every supported Python, and nothing else.

GitHub's own reading of the workflow is not repeated here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_docs import ROOT, supported_minors

TEXT = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
WORKFLOW: dict[str, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
PARTS: dict[str, str] = {
    entry["part"]: entry["python"]
    for job in JOBS.values()
    for entry in job["strategy"]["matrix"]["include"]
}
DOES = {
    "lint": "style and types",
    "templates": "templates for containers",
    "lowest": "the lowest versions",
    "newest": "the newest versions",
    "suite": "all tests",
}


def run(folder: Path, *words: str) -> tuple[int, str, str]:
    """Exit status of ``.ci/run``, its output, and the commands that it called.

    The commands themselves do nothing and fail, except uv, which would be installed otherwise.
    """
    called = folder / "called"
    for name in ("make", "git", "uv", "chromium", "curl", "apt-get"):
        stub = folder / name
        status = int(name != "uv")
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >> "{called}"\nexit {status}\n', "utf-8")
        stub.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci/run", *words],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, called.read_text("utf-8") if called.exists() else ""


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_workflow_is_one_of_the_script(tmp_path: Path, part: str) -> None:
    status, output, called = run(tmp_path, *part.split())
    # Begun, and failed with its commands; an unknown part has the status 2.
    assert status == 1, output
    if part.startswith("python "):
        assert re.search(rf"^Failed: .*{re.escape(part.capitalize())}\b", output, re.M), output
        return
    assert f"Failed: {DOES[part]}" in output
    assert output.count("FAILED") == 1
    assert ("make lint" in called, "make test" in called) == (part == "lint", part == "suite")


def test_the_workflow_leaves_no_part_out(tmp_path: Path) -> None:
    pythons = {f"python 3.{minor}" for minor in supported_minors()}
    assert PARTS.keys() == {*DOES, *pythons}
    status, output, _ = run(tmp_path)
    assert status == 1
    assert all(f"=== {title}" in output for title in DOES.values())
    # The lowest Python has no section of its own there, since the whole suite runs on it.
    named = re.findall(r"^=== Python (3\.\d+)(?:,| is not on this machine)", output, re.M)
    assert {f"python {version}" for version in named} == pythons - {f"python {PARTS['lowest']}"}


@pytest.mark.parametrize("words", ["tests", "python", "python 3.10", "python 3", "lint python"])
def test_an_unknown_part_is_refused_before_anything_runs(tmp_path: Path, words: str) -> None:
    status, output, called = run(tmp_path, *words.split())
    assert (status, called) == (2, "")
    assert "usage: .ci/run" in output
    assert "===" not in output


def test_each_part_gets_the_python_that_it_is_for() -> None:
    lowest, *_, newest = (f"3.{minor}" for minor in supported_minors())
    fixed = {"newest": newest}
    assert {
        part: part.removeprefix("python ") if " " in part else fixed.get(part, lowest)
        for part in PARTS
    } == PARTS


def test_the_workflow_may_only_read_and_ends() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for job in JOBS.values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "uses" in step or step["run"] == ".ci/run ${{ matrix.part }}"
            assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_the_hooks_are_the_linters_of_make() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = {
        hook["entry"].partition(" --")[0]
        for repository in hooks["repos"]
        for hook in repository["hooks"]
        if repository["repo"] == "local" and hook["language"] == "system"
    }
    recipe = re.search(r"^lint:.*?\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert recipe
    commands = re.findall(r"\$\(BIN\)/(\w+(?: \w+)?)", recipe[1])
    assert entries == {f".venv/bin/{command}" for command in commands}
