"""Removed records, another bucket under waiting jobs, and a machine that sleeps before its send: a
request that may have been sent is never sent again."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import deque
from functools import partial

from deployments.local.stack import BUCKET
from tests.chaos.crash import row
from tests.chaos.jobs import Clips, Job
from tests.chaos.outages import JOB_SECONDS, await_end, judge_all, until
from tests.chaos.processes import Kill, Plan, Process, Suite, run_plans

# While a provider works on the job, or may do so.
_KILLS: tuple[tuple[str, str, int], ...] = tuple(
    (name, step, 1)
    for step in ("lip-sync", "inpainting")
    for name in ("submit.before-send", "submit.answered", "wait.before-look", "wait.looked")
)
_OTHER_BUCKET = f"{BUCKET}-other"
# Longer than a search's answer is valid.
_PAUSE_SECONDS = 40.0


def lost_records(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """Remove or outdate the records of a send; nothing may be bought again."""
    for _ in range(max(1, repeat)):
        if suite.over:
            return
        _emptied(suite, clips)
        _other_bucket(suite, clips)
        _paused(suite, clips)


def _emptied(suite: Suite, clips: Clips) -> None:
    """A job is killed, and its folder of records emptied, by a lifecycle rule or a person."""
    plans = []
    for kill in _KILLS:
        name = f"{row(kill)}, records removed"
        job = Job(suite.create(clips.parameters()), [name])
        plans.append(Plan(job, deque([(name, kill)]), after_kill=lambda job: _empty(suite, job)))
    run_plans(suite, plans, at_once=len(plans))


def _empty(suite: Suite, job: Job) -> None:
    prefix = f"results/{job.job_id}/"
    s3 = suite.jobs.s3
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
        job.kept.pop(entry["Key"], None)


def _other_bucket(suite: Suite, clips: Clips) -> None:
    """Another bucket is registered under waiting jobs, and the worker restarted: the jobs fail with
    a message, and a retry continues them as soon as their bucket is back."""
    name = "the bucket changed under waiting jobs"
    jobs = [Job(suite.create(clips.parameters()), [name]) for _ in range(2)]
    suite.stack.set_pace(20.0)
    kill: Kill = ("wait.looked", "lip-sync", 1)
    process = suite.process()
    try:
        process.order(kills={job.job_id: kill for job in jobs})
        suite.release(jobs)
        halted: set[str] = set()
        until(
            lambda: _noted(process, "halted", halted) and len(halted) == len(jobs),
            "all jobs wait for their provider",
        )
    finally:
        process.kill()
    suite.jobs.s3.create_bucket(Bucket=_OTHER_BUCKET)
    _register(suite, PRO_VIDEO_S3_BUCKET=_OTHER_BUCKET)
    suite.table.inject(name, len(jobs))
    process = suite.process()
    try:
        process.order()
        await_end(suite, jobs)
    finally:
        process.kill()
    messages = [suite.jobs.state(job.job_id).message or "" for job in jobs]
    _register(suite)
    suite.stack.set_pace(JOB_SECONDS)
    process = suite.process()
    try:
        process.order()
        for job, message in zip(jobs, messages, strict=True):
            if f"s3://{BUCKET} " not in message or f"s3://{_OTHER_BUCKET} " not in message:
                job.rows.append(f"{name}: told as {message!r}")
                job.ends = "refused, naming both buckets"
            suite.jobs.release(job.job_id)
        await_end(suite, jobs)
        judge_all(suite, jobs)
    finally:
        process.kill()


def _register(suite: Suite, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "deployments.register"],
        env={**suite.stack.process_environment(), **environment},
        check=True,
        timeout=400,
    )


def _paused(suite: Suite, clips: Clips) -> None:
    """A machine sleeps between its last search and its send, and wakes when another worker has
    sent."""
    name = "a machine that sleeps before its send"
    stopped: list[tuple[Job, Process]] = []
    second = suite.process()
    try:
        for step in ("lip-sync", "inpainting"):
            job = Job(suite.create(clips.parameters()), [name], twice_at_once=True)
            suite.release([job])
            stopped.append((job, suite.process()))
            pause = ("submit.before-send", step, 1, _PAUSE_SECONDS)
            stopped[-1][1].order(run=job.job_id, pauses={job.job_id: pause})
        seen: set[str] = set()
        for job, process in stopped:
            until(partial(_noted, process, "paused", seen), "the machine sleeps")
            # Its job is rescheduled, as that of a lost worker.
            suite.jobs.crash(job.job_id)
            suite.jobs.release(job.job_id)
            suite.table.inject(name)
        second.order()
        jobs = [job for job, _ in stopped]
        await_end(suite, jobs)
        for _, process in stopped:
            until(partial(_noted, process, "hit", seen), "the machine woke and went on")
        judge_all(suite, jobs)
    finally:
        for process in (second, *(process for _, process in stopped)):
            process.kill()


def _noted(process: Process, what: str, jobs: set[str]) -> bool:
    """Has the process noted this event since the last call? Its jobs are added to ``jobs``."""
    found = {line["job"] for line in process.lines() if line["what"] == what}
    jobs |= found
    return bool(found)
