"""Removed records, another bucket, a store that heeds no condition, wrong clocks, and a machine
that sleeps before its send: a request that may have been sent is never sent again."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack

from deployments.local.stack import BUCKET
from pro_video.s3.proof import NO_CONDITIONS
from tests.chaos.batch import (
    await_end,
    held,
    judge_all,
    new_jobs,
    until_noted,
    until_waiting,
    working,
)
from tests.chaos.jobs import Clips, Job
from tests.chaos.parts.crash import row
from tests.chaos.processes import Kill, Plan, Suite, run_plans

# Around each send, and while a provider works on the job or may do so.
_KILLS: tuple[Kill, ...] = tuple(
    (name, step, 1)
    for step in ("lip-sync", "inpainting")
    for name in ("submit.before-send", "submit.answered", "wait.before-look", "wait.looked")
)
_STEPS = {"sync_so": "lip-sync", "ghostcut": "inpainting"}
_OTHER_BUCKET = f"{BUCKET}-other"
# Longer than a search's answer is valid.
_PAUSE_SECONDS = 40.0
# Longer than twice the time that a search spares at the ends of its window.
_SKEW_SECONDS = 25 * 60.0


def emptied_records(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """A job is killed, and its folder of records emptied, by a lifecycle rule or a person."""
    plans = _plans(suite, clips, "records removed")
    for each in plans:
        each.after_kill = lambda job: _empty(suite, job)
    run_plans(suite, plans, at_once=len(plans))


def _plans(suite: Suite, clips: Clips, what: str, kills: Iterable[Kill] = _KILLS) -> list[Plan]:
    plans = []
    for kill in kills:
        name = f"{row(kill)}, {what}"
        job = Job(suite.create(clips.parameters()), [name])
        plans.append(Plan(job, deque([(name, kill)])))
    return plans


def _empty(suite: Suite, job: Job) -> None:
    prefix = f"results/{job.job_id}/"
    s3 = suite.jobs.s3
    for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
        job.kept.pop(entry["Key"], None)


def unfit_store(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """An S3 that accepts conditions and heeds none: no registration takes it, and under jobs that
    run on it already nothing is bought twice."""
    name = "the store heeds no condition"
    ignored = {"call": "put_object", "kind": "ignore_condition", "times": None}
    suite.stack.control("s3", "faults", faults=[ignored])
    refused = suite.register()
    suite.table.inject(f"{name}: registration")
    if refused.returncode == 0 or NO_CONDITIONS not in refused.stdout + refused.stderr:
        suite.table.violate(f"{name}, and it was registered: {refused.stderr}")
    plans = _plans(suite, clips, name)
    # Each process proves its store at its start, and would not begin.
    faults = [{**ignored, "match": {"key": f"*/{each.job.job_id}/*"}} for each in plans]
    suite.stack.control("s3", "faults", faults=faults)
    run_plans(suite, plans, at_once=len(plans))
    suite.stack.control("s3", "faults", faults=[])


def wrong_clocks(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Each process has a clock that is early or late, and the answers to its requests are lost."""
    name = "wrong clocks and a lost answer"
    kills = [kill for kill in _KILLS if kill[0] != "submit.answered"]
    plans = _plans(suite, clips, "wrong clocks", kills)
    for server, step in _STEPS.items():
        lost = {"call": "create", "kind": "drop_connection", "when": "after"}
        matches = [{"reference": f"pv-{each.job.job_id}-{step}-1"} for each in plans]
        suite.stack.add_faults(server, [{**lost, "match": match} for match in matches])
    skews = deque([_SKEW_SECONDS, -_SKEW_SECONDS])

    def orders() -> dict[str, object]:
        skews.rotate()
        return {"skew": skews[0]}

    run_plans(suite, plans, at_once=len(plans), orders=orders)
    for server in _STEPS:
        left = suite.stack.control(server, "faults")["faults"]
        suite.table.inject(name, len(plans) - len(left))


def other_bucket(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Another bucket is registered under waiting jobs, and the worker restarted: the jobs fail with
    a message, and a retry continues them as soon as their bucket is back."""
    name = "the bucket changed under waiting jobs"
    jobs = new_jobs(suite, clips, name, 2)
    with held(suite):
        with working(suite):
            suite.release(jobs)
            until_waiting(suite, jobs)
        suite.jobs.s3.create_bucket(Bucket=_OTHER_BUCKET)
        suite.register(PRO_VIDEO_S3_BUCKET=_OTHER_BUCKET).check_returncode()
        suite.table.inject(name, len(jobs))
        try:
            with working(suite):
                await_end(suite, jobs)
        finally:
            suite.register().check_returncode()
    for job in jobs:
        message = suite.jobs.state(job.job_id).message or ""
        if f"s3://{BUCKET} " not in message or f"s3://{_OTHER_BUCKET} " not in message:
            suite.table.violate(f"{job.job_id} ({name}): told as {message!r}")
        job.failed = True
        suite.jobs.release(job.job_id)
    with working(suite):
        judge_all(suite, jobs)


def sleeping_machine(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """A machine sleeps between its last search and its send, and wakes when another worker has
    sent."""
    name = "a machine that sleeps before its send"
    jobs = new_jobs(suite, clips, name, len(_STEPS))
    with ExitStack() as closing:
        asleep = []
        for job, step in zip(jobs, _STEPS.values(), strict=True):
            job.twice_at_once = True
            suite.release([job])
            pauses = {job.job_id: ("submit.before-send", step, 1, _PAUSE_SECONDS)}
            asleep.append(closing.enter_context(working(suite, run=job.job_id, pauses=pauses)))
        for job, process in zip(jobs, asleep, strict=True):
            until_noted(process, "paused")
            # Its job is rescheduled, as that of a lost worker.
            suite.jobs.crash(job.job_id)
            suite.jobs.release(job.job_id)
            suite.table.inject(name)
        closing.enter_context(working(suite))
        await_end(suite, jobs)
        for process in asleep:
            until_noted(process, "hit")
        judge_all(suite, jobs)
