"""Prefect's own command line against the local stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import LocalStack

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
def test_the_plain_commands_end_as_they_should(stack: LocalStack, tmp_path: Path) -> None:
    description = tmp_path / "stack.json"
    description.write_text(json.dumps(stack.description), encoding="utf-8")
    # In a process of its own, as Prefect's command line changes the environment and the output.
    done = subprocess.run(
        [sys.executable, "-m", "tests.plain_commands", str(description)],
        env=stack.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    for command in ("flow-run logs", "flow-run retry", "artifact inspect", "deploy --all"):
        assert f"prefect {command}" in done.stdout
