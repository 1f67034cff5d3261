"""Workers in pid namespaces of their own under one host name, as replicas in containers are.

Each of them is process 1 of its namespace. On a machine that makes no namespaces for this user they
share that of the tests: nothing is skipped, and that equal process ids prove nothing is shown by
``tests/deployments/worker/test_process_identity.py`` everywhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import cycle, islice
from pathlib import Path

from pro_video.core.progress import Stage
from tasks.connections.run_history import RunHistory
from tests.support.jobs import Jobs
from tests.support.stack import READY_SECONDS, LocalStack, wait_until

_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
_PREFECT = (sys.executable, "-P", "-m", "prefect")


@cache
def command() -> tuple[str, ...]:
    """The beginning of Prefect's command, in a namespace where this user may make one."""
    for unshare in (_UNSHARE, (_UNSHARE[0], "--user", "--map-root-user", *_UNSHARE[1:])):
        try:
            subprocess.run([*unshare, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return (*unshare, *_PREFECT)
    return _PREFECT


class Replica:
    """One worker, which may be started again and again.

    Args:
        stack: the servers.
        pool: the work pool.
        home: Prefect's home of its own, where its lock is; None: that of the stack.
        log: file for its output.
        settings: environment variables, besides those of the stack.
    """

    def __init__(
        self,
        stack: LocalStack,
        pool: str,
        *,
        log: Path,
        home: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._pool = pool
        self._log = log
        self._environment = {**stack.process_environment(), **(settings or {})}
        if home is not None:
            self._environment["PREFECT_HOME"] = str(home)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it has looked for jobs of lost processes."""
        assert self._process is None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command(), "worker", "start", "--pool", self._pool, "--type", "pro-video"],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._has_started, READY_SECONDS, "the replica has started")

    def _has_started(self) -> bool:
        said = self._log.read_text(encoding="utf-8", errors="replace")
        assert self._process is not None
        assert self._process.poll() is None, said
        return " started!" in said

    def stop(self, order: signal.Signals = signal.SIGTERM) -> None:
        """End it, also when it ignores the order."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, order)
            process.wait(100)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@contextmanager
def replicas(*members: Replica) -> Iterator[None]:
    """Stop the replicas at the end of the block, those that run."""
    with ExitStack() as ending:
        for each in members:
            ending.callback(each.stop)
        yield


def restart_replicas(
    jobs: Jobs, job_ids: list[str], first: Replica, second: Replica, *, restarts: int
) -> None:
    """Restart two replicas, by order and by SIGKILL, while jobs wait for Sync.so, and check that
    nothing counts against these and nothing is bought again.

    Args:
        jobs: of the stack.
        job_ids: jobs of the replicas' pool that were created, and that Sync.so works on for longer
            than all of this takes.
        first: it is started, and takes all jobs.
        second: it is started when all of them wait, and restarted beside them.
        restarts: of both together, not counting the first starts.
    """
    first.start()
    jobs.release(*job_ids)
    _until_all_wait(jobs, job_ids)
    orders = cycle((signal.SIGTERM, signal.SIGKILL))
    second.start()
    for order in islice(orders, (restarts + 1) // 2):
        second.stop(order)
        second.start()
    # Its starts took no living job for lost.
    assert [history.losses for history in _histories(jobs, job_ids)] == [0] * len(job_ids)
    for order in islice(orders, restarts // 2):
        first.stop(order)
        first.start()
        _until_all_wait(jobs, job_ids)
    assert [(each.crashes, each.retries) for each in _histories(jobs, job_ids)] == [
        (0, 0) for _ in job_ids
    ]
    assert [len(jobs.audit("sync_so", job_id)) for job_id in job_ids] == [1 for _ in job_ids]


def _until_all_wait(jobs: Jobs, job_ids: list[str]) -> None:
    for job_id in job_ids:
        jobs.until_state(job_id, Stage.LIP_SYNC_PROCESSING.value.name)
        jobs.until_accepted("sync_so", job_id)


def _histories(jobs: Jobs, job_ids: list[str]) -> list[RunHistory]:
    return [RunHistory.of(jobs.history(job_id)) for job_id in job_ids]
