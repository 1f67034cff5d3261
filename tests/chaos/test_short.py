"""A short form of ``python -m tests.chaos``: the likeliest causes of a second payment or a lost
result."""

from __future__ import annotations

from collections import deque

import pytest

from tests.chaos.jobs import Clips, Job
from tests.chaos.parts.crash import row
from tests.chaos.processes import Kill, Plan, Suite, run_plans

pytestmark = pytest.mark.timeout(1000)

KILLS: tuple[tuple[Kill, str | None], ...] = (
    (("submit.marked", "inpainting", 1), None),
    (("submit.answered", "lip-sync", 1), "ghostcut"),
    (("store.part", "lip-sync", 1), None),
    (("ending.final", "", 2), "sync_so"),
)
"""Where each job is killed, and the provider that accepts it and never answers."""

_STEPS = {"sync_so": "lip-sync", "ghostcut": "inpainting"}


def test_jobs_survive_kills_and_lost_answers(suite: Suite, clips: Clips) -> None:
    plans = [_plan(suite, clips, kill) for kill, _ in KILLS]
    for each, (_, server) in zip(plans, KILLS, strict=True):
        if server is not None:
            _lose_the_answer(suite, server, each.job.job_id)
    run_plans(suite, plans, at_once=len(plans), process_seconds=300)
    table = suite.table
    assert table.violations == [], "\n".join(table.lines())
    killed = sum(table.row(row(kill)).tried for kill, _ in KILLS)
    assert killed == len(KILLS), "\n".join(table.lines())


def _plan(suite: Suite, clips: Clips, kill: Kill) -> Plan:
    inpainting = kill[0] != "store.part"
    parameters = clips.parameters(inpainting=inpainting)
    job = Job(
        suite.create(parameters),
        [row(kill)],
        inpainting=inpainting,
        billed=(1, int(inpainting)),
    )
    return Plan(job, deque([(row(kill), kill)]))


def _lose_the_answer(suite: Suite, server: str, job_id: str) -> None:
    mark = f"pv-{job_id}-{_STEPS[server]}-1"
    lost = {"call": "create", "kind": "drop_connection", "when": "after"}
    suite.stack.add_faults(server, [{**lost, "match": {"reference": mark}}])
