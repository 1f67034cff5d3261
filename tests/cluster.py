"""A burst of jobs on the cluster, in which one process of each kind is killed at the same moment.

``python -m tests.cluster --jobs 200`` starts a cluster of its own and stops it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from prefect import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from sandbox.media.sample.make_sample import describe, make_sample
from tests.support.jobs import Jobs
from tests.support.stack import running_stack, wait_until

KILLED = ("postgres", "redis", "prefect-2", "prefect-services", "worker-1", "gateway")
"""One process of each kind; the supervisor starts them again, as an orchestrator does."""

_AT_ONCE = 8
# A process of Prefect takes seconds to start, and jobs of a lost worker wait for its heartbeats.
_SECONDS = 900.0
_SECONDS_PER_JOB = 4.0


@contextmanager
def running_cluster(folder: Path) -> Iterator[Jobs]:
    """The jobs of a cluster that runs while the block does."""
    with running_stack(folder / "cluster", module="deployments.cluster.up") as stack:
        settings = {PREFECT_API_URL: stack.api_url, PREFECT_HOME: folder / "client"}
        with temporary_settings(settings), get_client(sync_client=True) as client:
            stack.control("sync_so", "settings", media="copy", seconds_per_job=_SECONDS_PER_JOB)
            yield Jobs(stack, client)


def burst(jobs: Jobs, parameters: dict[str, Any], count: int) -> list[str]:
    """Start jobs, and kill processes as soon as a third of them is at the provider; their ids."""
    stack = jobs.stack
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # Prefect keeps the address of its server in a context variable.
        started = [pool.submit(copy_context().run, jobs.start, parameters) for _ in range(count)]
        wait_until(
            lambda: len(stack.control("sync_so", "audit")["jobs"]) >= count / 3,
            _SECONDS,
            "jobs are at the provider",
            pause=0.2,
        )
        for name in KILLED:
            os.kill(stack.pid(name), signal.SIGKILL)
        ids = [each.result() for each in started]
    wait_until(
        lambda: not any(jobs.unfinished(ids[at : at + 200]) for at in range(0, count, 200)),
        _SECONDS + 2 * count,
        "all jobs have ended",
        pause=1,
    )
    return ids


def judge(jobs: Jobs, ids: list[str]) -> list[str]:
    """What is wrong with a burst: jobs that did not complete, that were lost or paid twice, and a
    worker without jobs."""
    billed = Counter(
        str(entry["reference"])[3:39]
        for entry in jobs.stack.control("sync_so", "audit")["jobs"]
        if entry["billed"]
    )
    runs = [jobs.run(each) for each in ids]
    wrong = [
        f"{run.id}: {run.state_name}, billed {billed[str(run.id)]} times"
        for run in runs
        if run.state_name != "Completed" or billed[str(run.id)] != 1
    ]
    places = {str(run.infrastructure_pid).rpartition(":")[0] for run in runs}
    if len(places) < 2:
        wrong.append(f"the jobs ran on {places}")
    return wrong


def main() -> int:
    """Entry of ``python -m tests.cluster``; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny = describe(make_sample(folder / "sample", width=160, height=90, seconds=2.0))
        parameters = {"video": tiny["video"], "segments": tiny["segments"]}
        with running_cluster(folder) as jobs:
            began = time.monotonic()
            ids = burst(jobs, parameters, options.jobs)
            took = time.monotonic() - began
            wrong = judge(jobs, ids)
    sys.stdout.write(f"{len(ids)} jobs in {took:.0f} s, killed: {', '.join(KILLED)}\n")
    sys.stdout.write("\n".join(wrong) + f"\n{len(wrong)} violations\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
