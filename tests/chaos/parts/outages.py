"""Servers that are killed under running jobs, and workers that are given the same job."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack

from tests.chaos.batch import (
    await_end,
    held,
    judge_all,
    new_jobs,
    unfinished,
    until,
    until_waiting,
    working,
)
from tests.chaos.jobs import Clips
from tests.chaos.processes import Suite

_STRIKES = 5
_WAITING_JOBS = 20


def sandbox_outages(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """SIGKILL S3 and the providers in the middle of jobs, again and again."""
    for server in ("s3", "sync-so", "ghostcut"):
        row = f"SIGKILL of the {server} server"
        jobs = new_jobs(suite, clips, row, 8)
        if server == "s3":
            # A provider that cannot fetch its source fails with a code that allows another
            # attempt; it bills only a success.
            for job in jobs:
                job.accepted = (2, 2)
        with working(suite):
            suite.release(jobs)
            for _ in range(_STRIKES):
                if not unfinished(suite, jobs):
                    break
                time.sleep(chance.uniform(0.5, 4))
                with suite.stack.server_killed(server):
                    suite.table.inject(row)
                    time.sleep(chance.uniform(0, 2))
            judge_all(suite, jobs)


def prefect_outages(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """SIGKILL the Prefect server while many jobs wait for their provider."""
    row = f"SIGKILL of the Prefect server under {_WAITING_JOBS} waiting jobs"
    jobs = new_jobs(suite, clips, row, _WAITING_JOBS)
    with working(suite):
        with held(suite):
            suite.release(jobs)
            until_waiting(suite, jobs)
            with suite.stack.server_killed("prefect"):
                suite.table.inject(row)
                time.sleep(chance.uniform(3, 12))
        judge_all(suite, jobs)


def twice_at_once(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """The same job in two processes from its begin."""
    row = "the same job in two processes"
    jobs = new_jobs(suite, clips, row, 2)
    with ExitStack() as closing:
        processes = []
        for job in jobs:
            job.twice_at_once = True
            # No worker polls now: the job is free, and only these two take it.
            suite.release([job])
            for _ in range(2):
                processes.append(closing.enter_context(working(suite, run=job.job_id)))
            suite.table.inject(row)
        await_end(suite, jobs)
        until(lambda: all(each.ended for each in processes), "both processes end")
        judge_all(suite, jobs)


def given_away(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Jobs that are declared lost while they run, and go to a second worker."""
    row = "a running job taken for lost and given to another worker"
    jobs = new_jobs(suite, clips, row, 6)
    for job in jobs:
        job.twice_at_once = True
    with working(suite), working(suite):
        with held(suite):
            suite.release(jobs)
            until_waiting(suite, jobs)
            for job in jobs:
                time.sleep(chance.uniform(0, 1.5))
                # As the automation for lost workers does; the other one schedules the job anew.
                suite.jobs.crash(job.job_id)
                suite.table.inject(row)
        judge_all(suite, jobs)
