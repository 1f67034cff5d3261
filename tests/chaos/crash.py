"""The crash matrix: SIGKILL at every checkpoint, alone and in pairs."""

from __future__ import annotations

import random
import time
from collections import Counter, deque

from pro_video.core.checkpoints import NAMES
from tests.chaos.jobs import FINAL, Clips, Job
from tests.chaos.lives import Kill, Suite, Walk, begin, events_of, walk
from tests.chaos.table import UNDISTURBED
from tests.chaos.world import NotInTime

_LATE = frozenset({"ending.final", "progress.before-state", "progress.state-written"})
"""Checkpoints that a text removal reaches too, without its name."""

_SECONDS = 180.0
# Jobs of one process.
_WIDTH = 16

# Reached only when a provider's job fails: see tests.chaos.retries.
OF_FAILURES = frozenset({"attempt.closing", "attempt.closed"})


def row(kill: Kill) -> str:
    """Line of the table that a kill counts for."""
    name, step, _ = kill
    return f"SIGKILL at {name}" + (f" ({step})" if step else "")


def trace(suite: Suite, clips: Clips, source: str) -> Counter[tuple[str, str]]:
    """Run a job undisturbed; how often it reaches each checkpoint, in the order of the first time.

    Raises:
        NotInTime: it does not end.
    """
    job = Job(suite.runs.create(clips.parameters(source)), [UNDISTURBED])
    begin(suite, [job])
    process = suite.process()
    try:
        process.order(trace=True)
        deadline = time.monotonic() + _SECONDS
        while (state := suite.runs.states([job.job_id])[job.job_id]) not in FINAL:
            if time.monotonic() > deadline or process.ended:
                raise NotInTime(f"an undisturbed job stays {state}")
            time.sleep(0.25)
    finally:
        process.kill()
    suite.judge.end(job, state)
    hits: Counter[tuple[str, str]] = Counter()
    for line in events_of(process.events):
        if line["job"] == job.job_id:
            hits[line["name"], line["step"]] += 1
    return hits


def points(hits: Counter[tuple[str, str]]) -> list[Kill]:
    """The first, the second and the last hit of each checkpoint that was reached."""
    return [
        (name, step, hit)
        for (name, step), count in hits.items()
        for hit in sorted({1, min(2, count), count})
    ]


def crash_matrix(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """Kill jobs at every point once alone, and ``repeat`` times in pairs.

    The pairs are drawn so that the second point comes after the first.
    """
    whole = points(trace(suite, clips, "large link"))
    parts = [kill for kill in whole if kill[0] == "upload.part"]
    missing = NAMES - OF_FAILURES - {name for name, _, _ in whole}
    suite.table.violations += [f"no job reaches the checkpoint {name}" for name in sorted(missing)]
    plans: list[tuple[str, list[Kill]]] = [("large link", [kill]) for kill in parts]
    plans += [("large file", [kill]) for kill in parts]
    plans += [("file", [kill]) for kill in whole if kill[0] != "upload.part"]
    for _ in range(repeat):
        for index, kill in enumerate(whole):
            source = chance.choice(["file", "link", "object"])
            plans.append((source, [kill, chance.choice(whole[index:])]))
    walks = []
    for source, kills in plans:
        if suite.over:
            break
        walks.append(_walk(suite, clips, source, kills))
    walk(suite, walks, width=_WIDTH)


def _walk(suite: Suite, clips: Clips, source: str, kills: list[Kill]) -> Walk:
    # A job that dies before its text removal need not have one.
    inpainting = any(step == "inpainting" or name in _LATE for name, step, _ in kills)
    job = Job(
        suite.runs.create(clips.parameters(source, inpainting=inpainting)),
        [row(kill) for kill in kills],
        inpainting=inpainting,
        billed=(1, int(inpainting)),
    )
    return Walk(job, deque((row(kill), kill) for kill in kills))
