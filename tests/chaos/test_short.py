"""A short form of ``python -m tests.chaos``: where a second payment or a lost result would be
likeliest."""

from __future__ import annotations

from collections import deque

import pytest

from tests.chaos.crash import row
from tests.chaos.jobs import Clips, Job
from tests.chaos.lives import Kill, Suite, Walk, walk

pytestmark = pytest.mark.timeout(400)

KILLS: tuple[tuple[Kill, str | None], ...] = (
    (("submit.marked", "inpainting", 1), None),
    (("submit.answered", "lip-sync", 1), "ghostcut"),
    (("store.part", "lip-sync", 1), None),
    (("ending.final", "", 2), "sync-so"),
)
"""Where each job dies, and the provider that accepts it and never answers."""

_STEPS = {"sync-so": "lip-sync", "ghostcut": "inpainting"}


def test_jobs_survive_deaths_and_lost_answers(suite: Suite, clips: Clips) -> None:
    walks = [_walk(suite, clips, kill) for kill, _ in KILLS]
    for each, (_, server) in zip(walks, KILLS, strict=True):
        if server is not None:
            _lose_the_answer(suite, server, each.job.job_id)
    walk(suite, walks, width=len(walks), life_seconds=60)
    table = suite.table
    assert table.violations == [], "\n".join(table.lines())
    died = sum(table.row(row(kill)).tried for kill, _ in KILLS)
    assert died == len(KILLS), "\n".join(table.lines())


def _walk(suite: Suite, clips: Clips, kill: Kill) -> Walk:
    inpainting = kill[0] != "store.part"
    parameters = clips.parameters(inpainting=inpainting)
    job = Job(
        suite.runs.create(parameters),
        [row(kill)],
        inpainting=inpainting,
        billed=(1, int(inpainting)),
    )
    return Walk(job, deque([(row(kill), kill)]))


def _lose_the_answer(suite: Suite, server: str, job_id: str) -> None:
    mark = f"pv-{job_id}-{_STEPS[server]}-1"
    lost = {"call": "create", "kind": "drop_connection", "when": "after"}
    suite.world.add_faults(server, [{**lost, "match": {"reference": mark}}])
