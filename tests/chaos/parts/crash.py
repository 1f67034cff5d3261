"""SIGKILL at every checkpoint, alone and in pairs, and where a provider's failure is kept."""

from __future__ import annotations

import random
from collections import Counter, deque

from pro_video.core.checkpoints import NAMES
from tests.chaos.jobs import Clips, Job
from tests.chaos.processes import Kill, Plan, Suite, run_plans
from tests.chaos.table import UNDISTURBED
from tests.support.jobs import FINAL
from tests.support.stack import wait_until

_LATE = frozenset({"ending.final", "progress.before-state", "progress.state-written"})
"""Checkpoints that a text removal reaches too, without its name."""

_SECONDS = 180.0
# Jobs of one process.
_AT_ONCE = 16

# Reached only when a provider's job fails.
_OF_FAILURES = frozenset({"attempt.closing", "attempt.closed"})
_FAILURES: dict[str, tuple[str, dict[str, object]]] = {
    "lip-sync": ("sync_so", {"code": "generation_input_validation_failed"}),
    "inpainting": ("ghostcut", {"status": 20}),
}


def row(kill: Kill) -> str:
    """Line of the table that a kill counts for."""
    name, step, _ = kill
    return f"SIGKILL at {name}" + (f" ({step})" if step else "")


def trace(suite: Suite, clips: Clips, source: str) -> Counter[tuple[str, str]]:
    """Run a job undisturbed; how often it reaches each checkpoint, in the order of first hits."""
    job = Job(suite.create(clips.parameters(source)), [UNDISTURBED])
    suite.release([job])
    process = suite.process()

    def ended() -> bool:
        assert not process.ended
        return suite.jobs.states([job.job_id])[job.job_id] in FINAL

    try:
        process.order(trace=True)
        wait_until(ended, _SECONDS, "the undisturbed job ends", pause=0.25)
    finally:
        process.kill()
    suite.judge.end(job, suite.jobs.states([job.job_id])[job.job_id])
    return Counter(
        (line["name"], line["step"]) for line in process.lines() if line["job"] == job.job_id
    )


def points(hits: Counter[tuple[str, str]]) -> list[Kill]:
    """The first, the second and the last hit of each checkpoint that was reached."""
    return [
        (name, step, hit)
        for (name, step), count in hits.items()
        for hit in sorted({1, min(2, count), count})
    ]


def crash_matrix(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Kill jobs at every point once alone, and in the suite's rounds of pairs.

    The pairs are drawn so that the second point comes after the first.
    """
    whole = points(trace(suite, clips, "large link"))
    parts = [kill for kill in whole if kill[0] == "upload.part"]
    missing = NAMES - _OF_FAILURES - {name for name, _, _ in whole}
    for name in sorted(missing):
        suite.table.violate(f"no job reaches the checkpoint {name}")
    plans: list[tuple[str, list[Kill]]] = [("large link", [kill]) for kill in parts]
    plans += [("large file", [kill]) for kill in parts]
    plans += [("file", [kill]) for kill in whole if kill[0] != "upload.part"]
    for _ in range(suite.pairs):
        for index, kill in enumerate(whole):
            source = chance.choice(["file", "link", "object"])
            plans.append((source, [kill, chance.choice(whole[index:])]))
    run_plans(
        suite,
        [_plan(suite, clips, source, kills) for source, kills in plans],
        at_once=_AT_ONCE,
    )


def _plan(suite: Suite, clips: Clips, source: str, kills: list[Kill]) -> Plan:
    # A job that is killed before its text removal need not have one.
    inpainting = any(step == "inpainting" or name in _LATE for name, step, _ in kills)
    job = Job(
        suite.create(clips.parameters(source, inpainting=inpainting)),
        [row(kill) for kill in kills],
        inpainting=inpainting,
        billed=(1, int(inpainting)),
    )
    return Plan(job, deque((row(kill), kill) for kill in kills))


def failure_suite(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Kill jobs while their provider's final failure is stored: each stays failed until it is
    retried, and then pays only for the failed step."""
    plans = []
    for step, (server, failure) in _FAILURES.items():
        for name in [*sorted(_OF_FAILURES), "ending.final", "report.begin"]:
            kill: Kill = (name, step if name in _OF_FAILURES else "", 1)
            title = f"{row(kill)}, {step} failed, then retried"
            accepted = (2, 1) if step == "lip-sync" else (1, 2)
            job_id = suite.create(clips.parameters())
            job = Job(job_id, [title], accepted=accepted, retries=1)
            plans.append(Plan(job, deque([(title, kill)])))
            fault = {"call": "job", "kind": "failed", **failure}
            reference = {"reference": f"pv-{job_id}-{step}-1"}
            suite.stack.add_faults(server, [{**fault, "match": reference}])
    run_plans(suite, plans, at_once=len(plans))
