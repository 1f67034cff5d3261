"""Workers that seem to be lost, are reported lost again and again, or never begin: who works on a
job, how often its losses count, and what its owner is told."""

from __future__ import annotations

import random
from collections import deque
from contextlib import closing

import httpx
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Crashed

from gateway.auth.token_store import LOCAL_OWNER
from gateway.prefect_client.runs import TAG as OF_THE_GATEWAY
from gateway.prefect_client.runs import owner_tag
from pro_video.webhooks.records import WebhookTarget, target_key
from pro_video.webhooks.signing import new_secret
from tasks.connections.run_history import SILENT, TAKEN_UP
from tasks.webhooks.announce import TAG
from tests.chaos.batch import (
    held,
    judge_all,
    new_jobs,
    until,
    until_noted,
    until_waiting,
    working,
)
from tests.chaos.jobs import Clips, Job
from tests.chaos.processes import POOL, SETTINGS, Kill, Plan, Suite, run_plans
from tests.support.source_server import SourceServer
from tests.support.workers.replicas import Replica, restart_replicas
from tests.support.workers.replicas import replicas as running_replicas

_WAITING_JOBS = 20
# Of each.
_RESTARTS = 10
# More than the losses that end a job.
_REPORTS = 8
# Of one start: its labels, and the report that it failed.
_REFUSALS = 2


def replicas(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Workers with one host name in two namespaces of process ids, each restarted under the same
    waiting jobs."""
    name = "a restart of one of two replicas with one host name"
    jobs = new_jobs(suite, clips, name, _WAITING_JOBS)
    logs = suite.stack.folder / "logs"
    first, second = (
        Replica(suite.stack, POOL, log=logs / f"replica-{each}.log", settings=SETTINGS)
        for each in (1, 2)
    )
    with running_replicas(first, second):
        with held(suite):
            ids = [job.job_id for job in jobs]
            suite.watch(jobs)
            restart_replicas(suite.jobs, ids, first, second, restarts=2 * _RESTARTS)
            suite.table.inject(name, 2 * _RESTARTS)
        judge_all(suite, jobs)


def repeated_reports(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Automations that report one loss again and again, and take the job up each time."""
    name = f"a loss that is reported {_REPORTS} times"
    kills: list[Kill] = [("store.begin", "lip-sync", 1), ("wait.looked", "inpainting", 1)]
    plans = []
    for kill in kills:
        job = Job(suite.create(clips.parameters()), [name], losses=1)
        plans.append(Plan(job, deque([(name, kill)]), after_kill=lambda job: _report(suite, job)))
    run_plans(suite, plans, at_once=len(plans))


def _report(suite: Suite, job: Job) -> None:
    reports: tuple[State[None], ...] = (
        Crashed(message=SILENT),
        Crashed(message="a slow answer"),
        AwaitingRetry(message=TAKEN_UP),
    )
    for _ in range(_REPORTS):
        for state in reports:
            # Not by force, as the automations.
            suite.jobs.set_state(job.job_id, state)


def refused_start(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Prefect takes the state Pending of a start and answers the rest of it with 503, the report of
    the failure included: nobody works on the job, and its worker lives."""
    name = "a start that Prefect refuses half-way"
    jobs = new_jobs(suite, clips, name, 4)
    refusals = {job.job_id: _REFUSALS for job in jobs}
    with working(suite, refusals=refusals) as process:
        suite.release(jobs)
        until_noted(process, "refused", len(jobs))
        suite.table.inject(name, len(jobs))
        judge_all(suite, jobs)


def crash_is_no_end(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Jobs stay crashed until a worker comes: nobody is told that they ended."""
    name = "a crashed job whose owner looks and has a receiver"
    with closing(SourceServer()) as server:
        jobs = [_with_receiver(suite, clips, name, server.url("/hook")) for _ in range(3)]
        told: dict[str, list[str]] = {job.job_id: [] for job in jobs}

        def all_say(status: str) -> bool:
            for job_id, seen in told.items():
                shown = httpx.get(
                    f"{suite.stack.base_url('gateway')}/api/v1/jobs/{job_id}",
                    timeout=30,
                    trust_env=False,
                )
                if shown.is_success and shown.json()["status"] not in seen[-1:]:
                    seen.append(shown.json()["status"])
            return all(seen[-1:] == [status] for seen in told.values())

        with held(suite):
            with working(suite):
                suite.release(jobs)
                until_waiting(suite, jobs)
            for job in jobs:
                suite.jobs.crash(job.job_id)
            suite.table.inject(name, len(jobs))
            # The worker's own search for crashed jobs waits longer than this takes.
            until(lambda: all_say("processing"), "the gateway shows the jobs")
        with working(suite):
            until(lambda: all_say("completed"), "the jobs end")
            judge_all(suite, jobs)
            messages = [server.posted.get(timeout=300) for _ in jobs]
        for job in jobs:
            if told[job.job_id] != ["processing", "completed"]:
                suite.table.violate(f"{job.job_id} ({name}): GET {told[job.job_id]}")
        if not server.posted.empty() or not all(b"job.completed" in each for each in messages):
            suite.table.violate(f"({name}): webhooks {messages}")


def _with_receiver(suite: Suite, clips: Clips, name: str, url: str) -> Job:
    tags = [TAG, OF_THE_GATEWAY, owner_tag(LOCAL_OWNER)]
    job = Job(suite.create(clips.parameters(), tags), [name])
    target = WebhookTarget(
        url=url, events=("job.completed", "job.failed", "job.cancelled"), secret=new_secret()
    )
    suite.jobs.put(target_key(job.job_id), target.model_dump_json().encode())
    return job
