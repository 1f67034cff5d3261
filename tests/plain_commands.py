"""Prefect's own command line against a running stack: the commands of the README, and an operator's
next ones.

``python -m tests.plain_commands`` starts a stack of its own and stops it. With a file's name, the
``stack.json`` of a stack that runs, it uses that one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    get_current_settings,
    temporary_settings,
)
from prefect.testing.cli import CycloptsCliRunner

from sandbox.media.sample.make_sample import describe, make_sample
from tests.support.stack import running_stack

# A worker on a busy machine imports Prefect, reads its pool, and asks once for runs.
_WORKER_SECONDS = 180.0
_SETTLE_SECONDS = 120.0


class CommandFailed(Exception):
    """A command did not end as expected; the message holds its output."""


def prefect(*args: str, status: int = 0, shows: str = "") -> str:
    """Run a command in this process; its output.

    Args:
        status: its exit status.
        shows: a text that its output has to hold.

    Raises:
        CommandFailed: it does not end so.
    """
    began = time.monotonic()
    done = CycloptsCliRunner().invoke(["--no-prompt", *args])
    if done.exit_code != status or shows not in done.output or "Traceback" in done.output:
        raise CommandFailed(
            f"prefect {' '.join(args)}: exit status {done.exit_code}, wanted {status}"
            f"{f' and {shows!r}' if shows else ''}\n{done.output}"
        )
    sys.stdout.write(f"{time.monotonic() - began:6.1f} s  prefect {' '.join(args)[:90]}\n")
    sys.stdout.flush()
    return done.output


def _run_job(
    name: str, deployment: str, parameters: Mapping[str, Any], *args: str, **end: Any
) -> str:
    """Start a run of a deployment under a name; its id."""
    output = prefect(
        *("deployment", "run", deployment, "--flow-run-name", name),
        *("--params", json.dumps(parameters), *args),
        **end,
    )
    found = re.search(r"UUID: ([0-9a-f-]{36})", output)
    if found is None:
        raise CommandFailed(f"no id of a run in\n{output}")
    return found[1]


def read(job_id: str, name: str) -> None:
    """All commands that only read; the job has ended."""
    # On a stack with many runs, those that are scheduled for later fill the first page.
    prefect("flow-run", "ls", shows="pro-video")
    completed = ("--state-type", "COMPLETED", "--flow-name", "pro-video", "--limit", "200")
    prefect("flow-run", "ls", *completed, shows=name)
    prefect("flow-run", "inspect", job_id, shows=name)
    prefect("flow-run", "logs", job_id, shows="Created Pro job")
    prefect("deployment", "ls", shows="pro-video/local")
    prefect("deployment", "inspect", "pro-video/local", shows="pro-video")
    prefect("flow", "ls", shows="text-inpainting")
    prefect("artifact", "ls", shows="pro-video-progress")
    prefect("artifact", "inspect", "pro-video-progress", "--limit", "200", shows=job_id)
    prefect("work-pool", "ls", shows="pro-video")
    prefect("work-pool", "inspect", "pro-video", shows="pro-video")
    prefect("automation", "ls", shows="take up lost jobs")
    prefect("block", "ls", shows="sync-so-credentials")


def change(tag: str, parameters: Mapping[str, Any]) -> None:
    """The commands that change something: a retry, a cancel, and a new deployment of all."""
    absent = {**parameters, "video": "/absent/clip.mp4"}
    failing = f"{tag}-failing"
    job_id = _run_job(failing, "pro-video/local", absent, "--watch", status=1, shows="Failed")
    prefect("flow-run", "retry", failing)
    deadline = time.monotonic() + _SETTLE_SECONDS
    # The worker takes it up and it fails again; its states tell.
    while prefect("flow-run", "inspect", job_id).count("Failed") == 0:
        if time.monotonic() > deadline:
            raise CommandFailed("the retried run did not end")
        time.sleep(0.5)
    later = _run_job(f"{tag}-later", "pro-video/local", parameters, "--start-in", "1 hour")
    prefect("flow-run", "cancel", later)
    prefect("flow-run", "inspect", later, shows="Cancel")
    prefect("deploy", "--all", shows="pro-video/local")


def start_worker() -> None:
    """``prefect worker start --run-once``, on a pool of its own without jobs."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", "plain-commands", "--type", "pro-video"),
            "--run-once",
        ],
        env={**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)},
        capture_output=True,
        text=True,
        timeout=_WORKER_SECONDS,
        check=False,
    )
    output = done.stdout + done.stderr
    if done.returncode or "started!" not in output or "Traceback" in output:
        raise CommandFailed(f"prefect worker start: exit status {done.returncode}\n{output}")


def check(description: Mapping[str, Any], folder: Path) -> None:
    """Run every command against a stack.

    Args:
        description: what its ``stack.json`` says.
        folder: for a clip and for Prefect's own files.

    Raises:
        CommandFailed: a command did not end as expected.
    """
    tiny = describe(make_sample(folder / "sample", width=160, height=90, seconds=2.0))
    parameters = {"video": tiny["video"], "segments": tiny["segments"]}
    tag = f"plain-{time.time():.0f}"
    settings = {PREFECT_API_URL: description["prefect_api_url"], PREFECT_HOME: folder / "prefect"}
    with temporary_settings(settings):
        job_id = _run_job(tag, "pro-video/local", parameters, "--watch", shows="Completed")
        read(job_id, tag)
        change(tag, parameters)
        start_worker()


def main() -> int:
    """Entry of ``python -m tests.plain_commands``."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            if sys.argv[1:]:
                check(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), folder)
            else:
                with running_stack(folder / "stack") as stack:
                    stack.set_pace(seconds_per_job=1.0)
                    check(stack.description, folder)
        except CommandFailed as failed:
            sys.stdout.write(f"{failed}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
