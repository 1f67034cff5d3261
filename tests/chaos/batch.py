"""Jobs that go through a scenario together, and the conditions on which it waits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from pro_video.core.progress import Stage
from tests.chaos.jobs import Clips, Job
from tests.chaos.processes import Process, Suite
from tests.support.stack import wait_until

# Also on a machine that is busy with other work: nothing is judged by it.
_PATIENCE = 900.0

_WAITS = {"sync_so": Stage.LIP_SYNC_PROCESSING, "ghostcut": Stage.INPAINTING_PROCESSING}


def new_jobs(suite: Suite, clips: Clips, row: str, count: int) -> list[Job]:
    """Jobs for one row of the table, not yet released."""
    return [Job(suite.create(clips.parameters()), [row]) for _ in range(count)]


@contextlib.contextmanager
def working(suite: Suite, **orders: object) -> Iterator[Process]:
    """A worker process with these orders, which is killed at the end of the block."""
    process = suite.process()
    try:
        process.order(**orders)
        yield process
    finally:
        process.kill()


@contextlib.contextmanager
def held(suite: Suite) -> Iterator[None]:
    """The providers end no job while the block runs."""
    suite.stack.hold(True)
    try:
        yield
    finally:
        suite.stack.hold(False)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    wait_until(condition, _PATIENCE, what, pause=0.5)


def until_noted(process: Process, what: str, count: int = 1) -> None:
    """Wait until a process has noted so many more events of a kind."""
    seen = 0

    def noted() -> bool:
        nonlocal seen
        assert not process.ended, "the worker process ended by itself"
        seen += sum(line["what"] == what for line in process.lines())
        return seen >= count

    until(noted, f"{count} times {what}")


def until_waiting(suite: Suite, jobs: Sequence[Job], provider: str = "sync_so") -> None:
    """Wait until a provider works on all jobs, and each shows that."""

    def all_wait() -> bool:
        entries = suite.stack.control(provider, "audit")["jobs"]
        references = " ".join(entry["reference"] or "" for entry in entries)
        shown = suite.jobs.state_names(job.job_id for job in jobs)
        return all(
            job.job_id in references and shown[job.job_id] == _WAITS[provider].value.name
            for job in jobs
        )

    until(all_wait, f"all jobs wait for {provider}")


def await_end(suite: Suite, jobs: Sequence[Job]) -> None:
    """Wait for all jobs, but not for ever; an unfinished one is a violation."""
    deadline = time.monotonic() + _PATIENCE
    while unfinished(suite, jobs) and time.monotonic() < deadline:
        time.sleep(0.5)


def unfinished(suite: Suite, jobs: Sequence[Job]) -> set[str]:
    """The ids of the jobs that have not ended."""
    return suite.jobs.unfinished(job.job_id for job in jobs)


def judge_all(suite: Suite, jobs: Sequence[Job]) -> None:
    """Wait for the end of jobs, and judge them."""
    await_end(suite, jobs)
    states = suite.jobs.states(job.job_id for job in jobs)
    for job in jobs:
        suite.judge.end(job, states[job.job_id])
