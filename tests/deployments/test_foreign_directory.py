"""Every command in the directory of another project, whose packages have the names of ours.

The shared stack itself runs in such a directory, with all of its processes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.gateway.gateways import free_port
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs
from tests.support.stack import LocalStack, wait_until

pytestmark = pytest.mark.timeout(1000)

PROGRAMS = Path(sys.executable).parent
POOL = "foreign-directory"
Done = subprocess.CompletedProcess[str]


def run(stack: LocalStack, program: str, *arguments: str) -> Done:
    """A command, ended; its output and its errors are one text."""
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        env=stack.process_environment(),
        cwd=stack.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@contextmanager
def running(
    stack: LocalStack, program: str, *arguments: str, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    with stack.log.open("ab") as log:
        process = subprocess.Popen(
            [PROGRAMS / program, *arguments],
            env={**stack.process_environment(), **settings},
            cwd=stack.directory,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(100)


@background_job
def short_commands(resources: Resources) -> dict[str, Done]:
    stack = resources.jobs.stack
    # A queue that holds no runs: those of other tests are not for this worker.
    once = ("--type", "pro-video", "--work-queue", POOL, "--run-once")
    return {
        "register": run(stack, "pro-video", "register"),
        "worker": run(stack, "pro-video", "worker", *once),
        "tokens": run(stack, "pro-video", "tokens", "list"),
        # The ports are those of the stack itself, which are taken.
        "up": run(stack, "pro-video", "up", "--folder", str(resources.folder / "up")),
        "demo": run(stack, "pro-video", "demo", "--folder", str(resources.folder / "demo")),
        "sample": run(stack, "pro-video-sandbox", "sample", "--out", str(resources.folder / "cut")),
    }


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("register", 0, "Registered pro-video/local"),
        ("worker", 0, "started!"),
        ("tokens", 0, ""),
        ("up", 2, "These ports are taken on this machine"),
        ("demo", 1, "These ports are taken on this machine"),
        ("sample", 0, "sandbox sample: "),
    ],
)
def test_a_command_runs(background_jobs: BackgroundJobs, name: str, status: int, says: str) -> None:
    done = background_jobs.result(short_commands)[name]
    assert done.returncode == status, done.stdout
    assert says in done.stdout
    assert "of the working directory" not in done.stdout


@background_job
def job_of_prefects_command(resources: Resources) -> tuple[Jobs, str]:
    jobs = resources.jobs
    jobs.make_pool(POOL, "pro-video")
    start = ("worker", "start", "--pool", POOL, "--type", "pro-video", "--with-healthcheck")
    port = str(free_port())
    with running(jobs.stack, "prefect", *start, PREFECT_WORKER_WEBSERVER_PORT=port):
        job_id = jobs.start(resources.tiny_parameters, f"pro-video/{POOL}")
        jobs.finish([job_id])
        health = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=60)
    assert health.status_code == 200
    return jobs, job_id


def test_a_worker_of_prefects_command_completes_a_job(background_jobs: BackgroundJobs) -> None:
    jobs, job_id = background_jobs.result(job_of_prefects_command)
    assert jobs.state(job_id).name == "Completed"


def test_the_gateway_answers(stack: LocalStack) -> None:
    port = free_port()

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{port}/readyz"
            return httpx.get(url, trust_env=False, timeout=20).status_code == 200
        return False

    with running(stack, "pro-video", "gateway", "--port", str(port)) as process:
        wait_until(lambda: answers() or process.poll() is not None, 240, "the gateway is ready")
        assert process.poll() is None, stack.tail()


def test_the_directory_is_one_where_modules_of_ours_are_not_found(stack: LocalStack) -> None:
    command = [sys.executable, "-m", "deployments.register", "--help"]
    done = subprocess.run(command, cwd=stack.directory, capture_output=True, text=True, timeout=60)
    assert "deployments of the working directory was imported" in done.stderr
