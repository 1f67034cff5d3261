"""Servers that die under running jobs, and workers that are given the same job."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.chaos.jobs import FINAL, Clips, Job
from tests.chaos.lives import Process, Suite, begin
from tests.chaos.world import NotInTime

_PATIENCE = 300.0
_WAITING_JOBS = 20


def sandbox_outages(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """SIGKILL S3 and the providers in the middle of jobs, again and again."""
    for _ in range(max(1, repeat)):
        for server in ("s3", "sync-so", "ghostcut"):
            if suite.over:
                return
            row = f"SIGKILL of the {server} server"
            jobs = _jobs(suite, clips, row, 8)
            if server == "s3":
                # A provider that cannot fetch its source says that it failed, with a code that
                # allows another attempt; it bills the one that succeeds.
                for job in jobs:
                    job.accepted = (2, 2)

            def strike(server: str = server, row: str = row) -> None:
                time.sleep(chance.uniform(0.5, 4))
                suite.world.kill(server)
                suite.table.inject(row)
                time.sleep(chance.uniform(0, 2))
                suite.world.launch(server)
                suite.world.await_server(server)

            _under_fire(suite, jobs, strike, times=5)


def prefect_outages(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """SIGKILL the Prefect server while many jobs wait for their provider."""
    row = f"SIGKILL of the Prefect server under {_WAITING_JOBS} waiting jobs"
    for _ in range(repeat):
        if suite.over:
            return
        suite.world.settings(seconds_per_job=25.0)
        jobs = _jobs(suite, clips, row, _WAITING_JOBS)

        def strike(jobs: list[Job] = jobs) -> None:
            _await_waiting(suite, jobs)
            suite.world.kill("prefect")
            suite.table.inject(row)
            time.sleep(chance.uniform(3, 12))
            suite.world.launch("prefect")
            suite.world.await_server("prefect")
            suite.world.settings(seconds_per_job=0.3)

        _under_fire(suite, jobs, strike, times=1)


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
            job.twins = True
            # No worker polls now: the job is free, and only these two take it.
            begin(suite, [job])
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
    suite.world.settings(seconds_per_job=10.0)
    jobs = _jobs(suite, clips, row, 6)
    for job in jobs:
        job.twins = True
    first, second = suite.process(), suite.process()
    try:
        first.order()
        second.order()
        begin(suite, jobs)
        until(lambda: _running(suite, jobs), "all jobs run")
        for job in jobs:
            time.sleep(chance.uniform(0, 1.5))
            # As the automation for lost workers does; the other one schedules the job anew.
            suite.runs.set_state(job.job_id, "CRASHED", "Crashed")
            suite.table.inject(row)
        await_end(suite, jobs)
        judge_all(suite, jobs)
    finally:
        first.kill()
        second.kill()
        suite.world.settings(seconds_per_job=0.3)


def _jobs(suite: Suite, clips: Clips, row: str, count: int) -> list[Job]:
    return [Job(suite.runs.create(clips.parameters()), [row]) for _ in range(count)]


def _under_fire(suite: Suite, jobs: list[Job], strike: Callable[[], None], *, times: int) -> None:
    """Run jobs in one worker, and strike while they run."""
    process = suite.process()
    try:
        process.order()
        begin(suite, jobs)
        for _ in range(times):
            if _ended(suite, jobs):
                break
            strike()
        await_end(suite, jobs)
        judge_all(suite, jobs)
    finally:
        process.kill()


def _await_waiting(suite: Suite, jobs: list[Job]) -> None:
    accepted = {job.job_id: 0 for job in jobs}

    def all_wait() -> bool:
        marks = [str(row["reference"]) for row in suite.world.control("sync-so", "audit")["jobs"]]
        for job_id in accepted:
            accepted[job_id] = sum(mark.startswith(f"pv-{job_id}-") for mark in marks)
        return all(accepted.values())

    until(all_wait, "all jobs wait for their provider")


def _running(suite: Suite, jobs: list[Job]) -> bool:
    states = suite.runs.states(job.job_id for job in jobs)
    return all(state == "RUNNING" or state in FINAL for state in states.values())


def _ended(suite: Suite, jobs: list[Job]) -> bool:
    states = suite.runs.states(job.job_id for job in jobs)
    return all(state in FINAL for state in states.values())


def await_end(suite: Suite, jobs: list[Job]) -> None:
    """Wait for all jobs; those that stay are judged as what they are."""
    deadline = time.monotonic() + _PATIENCE
    while not _ended(suite, jobs) and time.monotonic() < deadline:
        time.sleep(0.5)


def judge_all(suite: Suite, jobs: list[Job]) -> None:
    """Judge jobs as what they are now."""
    states = suite.runs.states(job.job_id for job in jobs)
    for job in jobs:
        suite.judge.end(job, states[job.job_id])


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition.

    Raises:
        NotInTime: in vain.
    """
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {_PATIENCE:g} s: {what}")
        time.sleep(0.5)
