"""Jobs whose provider fails for good, killed while that is being written down, then retried."""

from __future__ import annotations

import random
from collections import deque

from tests.chaos.crash import OF_FAILURES, row
from tests.chaos.jobs import Clips, Job
from tests.chaos.lives import Kill, Suite, Walk, walk

_FAILURES: dict[str, tuple[str, dict[str, object]]] = {
    "lip-sync": ("sync-so", {"code": "generation_input_validation_failed"}),
    "inpainting": ("ghostcut", {"status": 20}),
}


def retry_suite(suite: Suite, clips: Clips, chance: random.Random, *, repeat: int) -> None:
    """A failed job stays failed until it is retried, and then pays only for what failed."""
    walks = []
    for step, (server, failure) in _FAILURES.items():
        told: list[dict[str, object]] = []
        for name in [*sorted(OF_FAILURES), "ending.final", "report.begin"]:
            kill: Kill = (name, step if name in OF_FAILURES else "", 1)
            walk_ = _walk(suite, clips, step, kill)
            walks.append(walk_)
            mark = f"pv-{walk_.job.job_id}-{step}-1"
            told.append({"call": "job", "kind": "failed", "match": {"reference": mark}, **failure})
        suite.world.control(server, "faults", {"faults": told})
    walk(suite, walks, width=len(walks))


def _walk(suite: Suite, clips: Clips, step: str, kill: Kill) -> Walk:
    name = f"{row(kill)}, {step} failed, then retried"
    job = Job(
        suite.runs.create(clips.parameters()),
        [name],
        accepted=(2, 1) if step == "lip-sync" else (1, 2),
        retries=1,
    )
    return Walk(job, deque([(name, kill)]))
