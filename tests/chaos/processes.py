"""Worker processes that are killed as soon as their jobs have reached chosen checkpoints."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.jobs import Follower, Job
from tests.chaos.judge import Judge
from tests.chaos.table import Table
from tests.support.jobs import FINAL, Jobs
from tests.support.stack import LocalStack

logger = logging.getLogger("tests.chaos")

Kill = tuple[str, str, int]
"""A checkpoint, the step that reaches it, and which of its hits in one process."""

JOB_SECONDS = 0.3
"""Seconds for which a provider works on a job."""

# A job that needs more is given up.
MOST_PROCESSES = 8

# Work pool of the suite's jobs, which the stack's own worker leaves alone.
POOL = "chaos"
SETTINGS = {
    "PRO_VIDEO_WORKER_CANCEL_POLL_SECONDS": "5",
    "PRO_VIDEO_WORKER_GRACE_SECONDS": "5",
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    # The files of the workers hold the logs; the server need not store them too.
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    # A server whose clients are killed loses a response now and then; the call is repeated then.
    "PREFECT_API_REQUEST_TIMEOUT": "10",
}


class Process:
    """One worker process, which loads while its orders are not yet known.

    Args:
        stack: the servers.
        name: of its file of events.
    """

    def __init__(self, stack: LocalStack, name: str) -> None:
        self.events = stack.folder / "events" / f"{name}.jsonl"
        self.events.parent.mkdir(exist_ok=True)
        self._read = 0
        with (stack.folder / "logs" / "chaos.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.chaos.worker"),
                    *("--events", str(self.events), "--pool", POOL),
                ],
                env={**stack.process_environment(), **SETTINGS},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def order(self, **orders: object) -> None:
        """Let it begin, with the orders that :mod:`tests.chaos.worker` describes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(orders).encode() + b"\n")
        self._process.stdin.flush()

    def lines(self) -> list[dict[str, str]]:
        """The events since the last call."""
        if not self.events.exists():
            return []
        with self.events.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def ended(self) -> bool:
        """Has it ended by itself?"""
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL it with its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        if self._process.stdin is not None:
            self._process.stdin.close()


@dataclass
class Plan:
    """A job and the checkpoints at which its process is killed, one in each process.

    Attributes:
        kills: each with the row of the table that it counts for.
        halted: has the job reached the next of them?
        after_kill: further faults of the job then, before its next process begins.
    """

    job: Job
    kills: deque[tuple[str, Kill]] = field(default_factory=deque)
    halted: bool = False
    after_kill: Callable[[Job], None] | None = None


class Suite:
    """Common resources of the suite's parts.

    Args:
        jobs: jobs of the stack.
        seconds: no job begins after this time.
        pairs: rounds of the parts that combine two faults by chance.
        table: takes what is found.
    """

    def __init__(
        self, jobs: Jobs, seconds: float, *, pairs: int = 1, table: Table | None = None
    ) -> None:
        self.pairs = pairs
        self.stack = jobs.stack
        self.jobs = jobs
        self.table = table or Table()
        self.follower = Follower(jobs)
        self.judge = Judge(jobs, self.follower, self.table)
        self._ends_at = time.monotonic() + seconds
        self._processes = 0
        self._spare: Process | None = None
        jobs.make_pool(POOL, "pro-video", "webhook-delivery")

    def create(self, parameters: dict[str, Any], tags: Iterable[str] = ()) -> str:
        """Create a job that no worker takes up before it is released; its id."""
        return self.jobs.prepare(parameters, f"pro-video/{POOL}", tags=tags)

    def watch(self, jobs: Iterable[Job]) -> None:
        """Follow the progress of jobs that are released next."""
        for job in jobs:
            self.follower.watch(job.job_id)

    def release(self, jobs: Iterable[Job]) -> None:
        """Let workers take up jobs that were created."""
        for job in jobs:
            self.watch([job])
            self.jobs.release(job.job_id)

    def process(self) -> Process:
        """A worker process that is loaded; another one begins to load."""
        ready = self._spare or self._load()
        self._spare = self._load()
        return ready

    def _load(self) -> Process:
        self._processes += 1
        return Process(self.stack, f"worker-{self._processes}")

    def register(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Register the stack's blocks and deployments with changed settings."""
        return subprocess.run(
            [sys.executable, "-m", "deployments.register"],
            env={**self.stack.process_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def reset(self) -> None:
        """Take back what an interrupted scenario may have left at the servers."""
        for server in ("s3", "sync_so", "ghostcut"):
            self.stack.control(server, "faults", faults=[])
        self.stack.set_pace(JOB_SECONDS)
        self.stack.hold(False)

    def tail(self) -> str:
        """The end of the workers' log."""
        log = self.stack.folder / "logs" / "chaos.log"
        return log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""

    @property
    def over(self) -> bool:
        """Is the time for this run up?"""
        return time.monotonic() > self._ends_at

    def close(self) -> None:
        """End the spare process and the follower."""
        if self._spare is not None:
            self._spare.kill()
        self.follower.close()


def run_plans(
    suite: Suite,
    plans: Iterable[Plan],
    *,
    at_once: int,
    process_seconds: float = 150,
    orders: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Lead all jobs to their end through all their kills.

    A process is killed when each of its jobs has reached its next kill, or its end.

    Args:
        at_once: most jobs of one process that have kills before them.
        process_seconds: most time of one process.
        orders: further orders for each process.
    """
    waiting = deque(plans)
    active: dict[str, Plan] = {}
    while waiting or active:
        # Jobs that only have to finish come on top: they do so beside the others.
        while waiting and sum(bool(each.kills) for each in active.values()) < at_once:
            if suite.over:
                waiting.clear()
                break
            new = waiting.popleft()
            active[new.job.job_id] = new
            suite.release([new.job])
        if not active:
            return
        _run_process(suite, active, process_seconds, orders())
        logger.info(
            "%d faults, %d violations, %d jobs under way, %d to come",
            suite.table.injected,
            len(suite.table.violations),
            len(active),
            len(waiting),
        )


def _run_process(
    suite: Suite, active: dict[str, Plan], seconds: float, orders: Mapping[str, object]
) -> None:
    process = suite.process()
    try:
        process.order(
            **orders,
            kills={job_id: each.kills[0][1] for job_id, each in active.items() if each.kills},
        )
        for each in active.values():
            each.halted = False
            each.job.processes += 1
        deadline = time.monotonic() + seconds
        while any(not each.halted for each in active.values()):
            if time.monotonic() > deadline or process.ended:
                break
            time.sleep(0.5)
            for line in process.lines():
                if line["what"] == "halted":
                    active[line["job"]].halted = True
            _judge_ended(suite, active)
    finally:
        process.kill()
    _count_kills(suite, active)


def _judge_ended(suite: Suite, active: dict[str, Plan]) -> None:
    moving = [job_id for job_id, each in active.items() if not each.halted]
    for job_id, state in suite.jobs.states(moving).items():
        job = active[job_id].job
        if state == "FAILED" and job.retries:
            job.retries -= 1
            job.failed = True
            suite.jobs.release(job_id)
        elif state in FINAL:
            suite.judge.end(active.pop(job_id).job, state)


def _count_kills(suite: Suite, active: dict[str, Plan]) -> None:
    for job_id, each in list(active.items()):
        if each.halted:
            name, _ = each.kills.popleft()
            suite.table.inject(name)
            suite.judge.remember(each.job)
            if each.after_kill is not None:
                each.after_kill(each.job)
        else:
            suite.table.inject("SIGKILL between checkpoints")
            each.job.rows.append("SIGKILL between checkpoints")
        if each.job.processes >= MOST_PROCESSES:
            suite.judge.end(each.job, "never")
            del active[job_id]
