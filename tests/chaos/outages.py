"""Servers that are killed under running jobs, and workers that are given the same job."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.chaos.jobs import Clips, Job
from tests.chaos.processes import Process, Suite
from tests.support.jobs import FINAL
from tests.support.stack import wait_until

_PATIENCE = 300.0
_WAITING_JOBS = 20

JOB_SECONDS = 0.3
"""Seconds for which a provider works on a job, where nothing else is said."""


def sandbox_outages(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """SIGKILL S3 and the providers in the middle of jobs, again and again."""
    for _ in range(max(1, repeat)):
        for server in ("s3", "sync-so", "ghostcut"):
            if suite.over:
                return
            row = f"SIGKILL of the {server} server"
            jobs = _jobs(suite, clips, row, 8)
            if server == "s3":
                # A provider that cannot fetch its source fails with a code that allows another
                # attempt; it bills only a success.
                for job in jobs:
                    job.accepted = (2, 2)

            def strike(server: str = server, row: str = row) -> None:
                time.sleep(chance.uniform(0.5, 4))
                with suite.stack.server_killed(server):
                    suite.table.inject(row)
                    time.sleep(chance.uniform(0, 2))

            _run_disturbed(suite, jobs, strike, times=5)


def prefect_outages(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """SIGKILL the Prefect server while many jobs wait for their provider."""
    row = f"SIGKILL of the Prefect server under {_WAITING_JOBS} waiting jobs"
    for _ in range(repeat):
        if suite.over:
            return
        suite.stack.set_pace(25.0)
        jobs = _jobs(suite, clips, row, _WAITING_JOBS)

        def strike(jobs: list[Job] = jobs) -> None:
            _await_waiting(suite, jobs)
            with suite.stack.server_killed("prefect"):
                suite.table.inject(row)
                time.sleep(chance.uniform(3, 12))
            suite.stack.set_pace(JOB_SECONDS)

        _run_disturbed(suite, jobs, strike, times=1)


def two_workers(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """The same job in two processes at once, and a job that is given away while it still runs."""
    for _ in range(repeat):
        if suite.over:
            return
        _twice_at_once(suite, clips)
        _given_away(suite, clips, chance)


def _twice_at_once(suite: Suite, clips: Clips) -> None:
    row = "the same job in two processes"
    jobs = _jobs(suite, clips, row, 2)
    processes: list[Process] = []
    try:
        for job in jobs:
            job.twice_at_once = True
            # No worker polls now: the job is free, and only these two take it.
            suite.release([job])
            for _ in range(2):
                processes.append(suite.process())
                processes[-1].order(run=job.job_id)
            suite.table.inject(row)
        await_end(suite, jobs)
        until(lambda: all(each.ended for each in processes), "both processes end")
        judge_all(suite, jobs)
    finally:
        for process in processes:
            process.kill()


def _given_away(suite: Suite, clips: Clips, chance: random.Random) -> None:
    row = "a running job taken for lost and given to another worker"
    suite.stack.set_pace(10.0)
    jobs = _jobs(suite, clips, row, 6)
    for job in jobs:
        job.twice_at_once = True
    first, second = suite.process(), suite.process()
    try:
        first.order()
        second.order()
        suite.release(jobs)
        left = {"RUNNING", *FINAL}
        until(lambda: left.issuperset(states_of(suite, jobs).values()), "all jobs run")
        for job in jobs:
            time.sleep(chance.uniform(0, 1.5))
            # As the automation for lost workers does; the other one schedules the job anew.
            suite.jobs.crash(job.job_id)
            suite.table.inject(row)
        await_end(suite, jobs)
        judge_all(suite, jobs)
    finally:
        first.kill()
        second.kill()
        suite.stack.set_pace(JOB_SECONDS)


def _jobs(suite: Suite, clips: Clips, row: str, count: int) -> list[Job]:
    return [Job(suite.create(clips.parameters()), [row]) for _ in range(count)]


def _run_disturbed(
    suite: Suite, jobs: list[Job], strike: Callable[[], None], *, times: int
) -> None:
    """Run jobs in one worker, and strike while they run."""
    process = suite.process()
    try:
        process.order()
        suite.release(jobs)
        for _ in range(times):
            if not _unfinished(suite, jobs):
                break
            strike()
        await_end(suite, jobs)
        judge_all(suite, jobs)
    finally:
        process.kill()


def _await_waiting(suite: Suite, jobs: list[Job]) -> None:
    def all_wait() -> bool:
        entries = suite.stack.control("sync_so", "audit")["jobs"]
        references = "".join(entry["reference"] or "" for entry in entries)
        return all(job.job_id in references for job in jobs)

    until(all_wait, "all jobs wait for their provider")


def await_end(suite: Suite, jobs: list[Job]) -> None:
    """Wait for all jobs, but not for ever; an unfinished one is a violation."""
    deadline = time.monotonic() + _PATIENCE
    while _unfinished(suite, jobs) and time.monotonic() < deadline:
        time.sleep(0.5)


def _unfinished(suite: Suite, jobs: list[Job]) -> set[str]:
    return suite.jobs.unfinished(job.job_id for job in jobs)


def states_of(suite: Suite, jobs: list[Job]) -> dict[str, str]:
    """The state types of jobs."""
    return suite.jobs.states(job.job_id for job in jobs)


def judge_all(suite: Suite, jobs: list[Job]) -> None:
    """Judge jobs by their present states."""
    states = states_of(suite, jobs)
    for job in jobs:
        suite.judge.end(job, states[job.job_id])


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    wait_until(condition, _PATIENCE, what, pause=0.5)
