"""Python in processes of its own, for commands of the project."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of Prefect and the project, and with these."""
    ours = ("PREFECT_", "PRO_VIDEO_", "SANDBOX_", "PYTEST_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | settings


def run_python(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=env,
        capture_output=True,
        text=True,
        # Also where ten other programs want each processor.
        timeout=480,
        check=False,
    )


@contextlib.contextmanager
def running_python(
    *arguments: str, env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Python while the block runs; its output goes to the end of ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(100)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
