"""Jobs on the cluster, in whose midst one process of each kind is killed at the same moment, and
others after whose end Prefect's database is restored from a backup.

``python -m tests.cluster --jobs 200`` starts a cluster of its own and stops it.
"""

from __future__ import annotations

import argparse
import subprocess
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

from deployments.local.postgres import DATABASE, PORT, USER, Cluster, program
from sandbox.media.sample.make_sample import describe, make_sample
from tests.support.jobs import Jobs
from tests.support.stack import running_stack, wait_until

KILLED = ("postgres", "redis", "prefect-2", "prefect-services", "worker-1", "gateway")
"""One process of each kind; the supervisor starts them again, as an orchestrator does."""
PREFECT = ("prefect-1", "prefect-2", "prefect-services", "worker-1", "worker-2", "gateway")
"""All that uses Prefect's database."""

_AT_ONCE = 8
# A process of Prefect takes seconds to start, and jobs of a lost worker wait for its heartbeats.
_SECONDS = 900.0
_SECONDS_PER_JOB = 4.0
# The backup is made meanwhile.
_SECONDS_FOR_BACKUP = 30.0


@contextmanager
def running_cluster(folder: Path) -> Iterator[Jobs]:
    """The jobs of a cluster that runs while the block does."""
    with running_stack(folder / "cluster", module="deployments.cluster.up") as stack:
        settings = {PREFECT_API_URL: stack.api_url, PREFECT_HOME: folder / "client"}
        with temporary_settings(settings), get_client(sync_client=True) as client:
            stack.control("sync_so", "settings", media="copy", seconds_per_job=_SECONDS_PER_JOB)
            yield Jobs(stack, client)


def start(jobs: Jobs, parameters: dict[str, Any], count: int, at_provider: int) -> list[str]:
    """Start jobs, several at a time; their ids, when some of them are at the provider."""
    before = len(jobs.stack.control("sync_so", "audit")["jobs"])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # Prefect keeps the address of its server in a context variable.
        started = [pool.submit(copy_context().run, jobs.start, parameters) for _ in range(count)]
        wait_until(
            lambda: len(jobs.stack.control("sync_so", "audit")["jobs"]) >= before + at_provider,
            _SECONDS,
            "jobs are at the provider",
            pause=0.2,
        )
        return [each.result() for each in started]


def finish(jobs: Jobs, ids: list[str]) -> None:
    """Wait until all jobs have ended."""
    wait_until(
        lambda: not any(jobs.unfinished(ids[at : at + 200]) for at in range(0, len(ids), 200)),
        _SECONDS + 2 * len(ids),
        "all jobs have ended",
        pause=1,
    )


def killed(jobs: Jobs, parameters: dict[str, Any], count: int) -> list[str]:
    """Jobs in whose midst one process of each kind is killed; their ids."""
    ids = start(jobs, parameters, count, count // 3)

    def both_have_jobs() -> bool:
        places = {str(jobs.run(each).infrastructure_pid).rpartition(":")[0] for each in ids}
        if len(places - {""}) < 2:
            ids.append(jobs.start(parameters))
            return False
        return True

    wait_until(both_have_jobs, _SECONDS, "both workers have taken jobs", pause=2)
    # One at least has not ended.
    ids.append(jobs.start(parameters))
    with jobs.stack.killed(*KILLED):
        pass
    finish(jobs, ids)
    return ids


def restored(jobs: Jobs, parameters: dict[str, Any], count: int) -> list[str]:
    """Jobs that have ended when Prefect's database is put back to the time when they were at the
    provider; their ids."""
    stack = jobs.stack
    data = Cluster(stack.folder / "data" / "postgres")
    backup = stack.folder / "backup"

    def run(name: str, *arguments: str) -> str:
        place = ("--host", str(data.socket_folder), "--port", str(PORT), "--username", USER)
        command = [str(program(name)), *place, *arguments]
        return subprocess.run(
            command, check=True, timeout=_SECONDS, stdout=subprocess.PIPE, text=True
        ).stdout

    stack.set_pace(_SECONDS_FOR_BACKUP)
    ids = start(jobs, parameters, count, count)
    run("pg_dump", "--format", "custom", "--file", str(backup), DATABASE)
    finish(jobs, ids)
    with stack.killed(*PREFECT):
        run("dropdb", "--force", DATABASE)
        run("createdb", DATABASE)
        run("pg_restore", "--dbname", DATABASE, str(backup))
        unfinished = "SELECT count(*) FROM flow_run WHERE state_type <> 'COMPLETED'"
        assert int(run("psql", DATABASE, "--tuples-only", "--command", unfinished)) > 0
    wait_until(lambda: stack.answers("prefect"), _SECONDS, "Prefect answers again")
    finish(jobs, ids)
    return ids


def sizes(jobs: Jobs) -> str:
    """Memory of the cluster's processes in MB, without their children."""
    found = {}
    for name in ("redis", *PREFECT):
        # Of a worker in a network of its own, the process below the one that made the network.
        pid = [str(jobs.stack.pid(name)), *_children(jobs.stack.pid(name))][-1]
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        found[name] = int(status.partition("VmRSS:")[2].split()[0]) // 1024
    return ", ".join(f"{name} {size} MB" for name, size in found.items())


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


def judge(jobs: Jobs, ids: list[str]) -> list[str]:
    """The jobs that did not complete, or that were not billed once."""
    billed = Counter(
        str(entry["reference"])[3:39]
        for entry in jobs.stack.control("sync_so", "audit")["jobs"]
        if entry["billed"]
    )
    runs = [jobs.run(each) for each in ids]
    return [
        f"{run.id}: {run.state_name}, billed {billed[str(run.id)]} times"
        for run in runs
        if run.state_name != "Completed" or billed[str(run.id)] != 1
    ]


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
            ids = killed(jobs, parameters, options.jobs)
            took = time.monotonic() - began
            memory = sizes(jobs)
            wrong = judge(jobs, ids + restored(jobs, parameters, _AT_ONCE))
    sys.stdout.write(f"{len(ids)} jobs in {took:.0f} s, killed: {', '.join(KILLED)}\n{memory}\n")
    sys.stdout.write("\n".join([*wrong, f"{len(wrong)} violations\n"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
