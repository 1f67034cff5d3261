"""A short form of ``python -m tests.chaos``: where a second payment or a lost result would be
likeliest."""

from __future__ import annotations

from collections import deque

from tests.chaos.crash import row
from tests.chaos.jobs import Clips, Job
from tests.chaos.lives import Kill, Suite, Walk, walk

KILLS: tuple[tuple[Kill, ...], ...] = (
    (("submit.marked", "lip-sync", 1), ("submit.marked", "inpainting", 1)),
    (("submit.answered", "lip-sync", 1), ("submit.answered", "inpainting", 1)),
    (("wait.looked", "lip-sync", 1), ("store.stored", "inpainting", 1)),
    (("store.part", "lip-sync", 1), ("wait.ended", "inpainting", 1)),
    (("progress.state-written", "", 1), ("ending.final", "", 2)),
)
"""The deaths of each job, one a life."""

LOST_ANSWERS = ("lip-sync", "inpainting")
"""The steps of two more jobs whose provider accepts them and never answers."""


def test_jobs_survive_deaths_and_lost_answers(suite: Suite, clips: Clips) -> None:
    walks = [_job(suite, clips, kills) for kills in KILLS]
    for server, step in zip(("sync-so", "ghostcut"), LOST_ANSWERS, strict=True):
        walks.append(_job(suite, clips, ()))
        mark = f"pv-{walks[-1].job.job_id}-{step}-1"
        lost = {"call": "create", "kind": "drop_connection", "when": "after"}
        planned = suite.world.control(server, "faults")["faults"]
        told = {"faults": [*planned, {**lost, "match": {"reference": mark}}]}
        suite.world.control(server, "faults", told)
    walk(suite, walks, width=len(walks), life_seconds=60)
    table = suite.table
    assert table.violations == [], "\n".join(table.lines())
    died = sum(entry.tried for name, entry in table.rows.items() if name.startswith("SIGKILL at"))
    assert died == sum(map(len, KILLS)), "\n".join(table.lines())


def _job(suite: Suite, clips: Clips, kills: tuple[Kill, ...]) -> Walk:
    rows = [row(kill) for kill in kills] or ["lost answer"]
    job = Job(suite.runs.create(clips.parameters()), rows)
    return Walk(job, deque((row(kill), kill) for kill in kills))
