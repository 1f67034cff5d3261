"""Lives of a worker process: jobs walk to where they are to die, then it is killed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.jobs import FINAL, Follower, Job, Runs
from tests.chaos.judge import Judge
from tests.chaos.table import Table
from tests.chaos.world import World, kill_group

logger = logging.getLogger("tests.chaos")

Kill = tuple[str, str, int]
"""A checkpoint, the step that reaches it, and which of its hits in one life of the process."""

# A job that needs more is given up.
MOST_LIVES = 8


class Process:
    """One worker process; it loads while its orders are not yet known.

    Args:
        world: the servers.
        name: of its files.
    """

    def __init__(self, world: World, name: str) -> None:
        self.events = world.folder / "events" / f"{name}.jsonl"
        self.events.parent.mkdir(exist_ok=True)
        self._read = 0
        with world.log("workers").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.chaos.worker"),
                    *("--events", str(self.events), "--pool", world.pool),
                ],
                env=world.environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def order(self, **orders: object) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(orders).encode() + b"\n")
        self._process.stdin.flush()

    def lines(self) -> list[dict[str, str]]:
        """The checkpoints reported since the last call."""
        if not self.events.exists():
            return []
        with self.events.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL it."""
        kill_group(self._process)


@dataclass
class Walk:
    """A job and the checkpoints at which it is to die, one in each life.

    Attributes:
        after_death: further faults of the job then, before its next process begins.
    """

    job: Job
    kills: deque[tuple[str, Kill]] = field(default_factory=deque)
    stands: bool = False
    after_death: Callable[[Job], None] | None = None


@dataclass
class Suite:
    """Common resources of the suite's parts."""

    world: World
    runs: Runs
    follower: Follower
    judge: Judge
    table: Table
    ends_at: float
    processes: int = 0
    spare: Process | None = None

    def process(self) -> Process:
        """A worker process that is loaded, and another one that begins to load."""
        ready = self.spare or self._load()
        self.spare = self._load()
        return ready

    def _load(self) -> Process:
        self.processes += 1
        return Process(self.world, f"worker-{self.processes}")

    @property
    def over(self) -> bool:
        """Is the time for this run up?"""
        return time.monotonic() > self.ends_at

    def close(self) -> None:
        if self.spare is not None:
            self.spare.kill()
        self.follower.close()
        self.judge.close()


def begin(suite: Suite, jobs: Iterable[Job]) -> None:
    """Release jobs that were created."""
    for job in jobs:
        suite.follower.watch(job.job_id)
        suite.runs.release(job.job_id)


def walk(suite: Suite, walks: Iterable[Walk], *, width: int, life_seconds: float = 150) -> None:
    """Lead all jobs to their end through all the deaths that they are to die.

    A process lives until each of its jobs has reached the checkpoint where it is to die, or its
    end. At most ``width`` of its jobs are to die.
    """
    waiting = deque(walks)
    active: dict[str, Walk] = {}
    while waiting or active:
        # Jobs that only have to finish come on top: they do so while the others walk.
        while waiting and sum(bool(each.kills) for each in active.values()) < width:
            if suite.over:
                waiting.clear()
                break
            new = waiting.popleft()
            active[new.job.job_id] = new
            begin(suite, [new.job])
        if not active:
            return
        _live(suite, active, life_seconds)
        logger.info(
            "%d faults, %d violations, %d jobs under way, %d to come",
            suite.table.injected,
            len(suite.table.violations),
            len(active),
            len(waiting),
        )


def _live(suite: Suite, active: dict[str, Walk], life_seconds: float) -> None:
    process = suite.process()
    try:
        process.order(
            kills={job_id: each.kills[0][1] for job_id, each in active.items() if each.kills}
        )
        for each in active.values():
            each.stands = False
            each.job.lives += 1
        deadline = time.monotonic() + life_seconds
        while any(not each.stands for each in active.values()):
            if time.monotonic() > deadline or process.ended:
                break
            time.sleep(0.25)
            for line in process.lines():
                if line["what"] == "stands":
                    active[line["job"]].stands = True
            _take_out_ended(suite, active)
    finally:
        process.kill()
    _count_deaths(suite, active)


def _take_out_ended(suite: Suite, active: dict[str, Walk]) -> None:
    moving = [job_id for job_id, each in active.items() if not each.stands]
    if not moving:
        return
    for job_id, state in suite.runs.states(moving).items():
        job = active[job_id].job
        if state == "FAILED" and job.retries:
            job.retries -= 1
            suite.runs.release(job_id)
        elif state in FINAL:
            suite.judge.end(active.pop(job_id).job, state)


def _count_deaths(suite: Suite, active: dict[str, Walk]) -> None:
    for job_id, each in list(active.items()):
        if each.stands:
            name, _ = each.kills.popleft()
            suite.table.inject(name)
            suite.judge.remember(each.job)
            if each.after_death is not None:
                each.after_death(each.job)
        else:
            suite.table.inject("SIGKILL between checkpoints")
            each.job.rows.append("SIGKILL between checkpoints")
        if each.job.lives >= MOST_LIVES:
            suite.judge.end(each.job, "never")
            del active[job_id]


def events_of(path: Path) -> list[dict[str, str]]:
    """All lines of an events file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
