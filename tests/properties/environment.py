"""The environment of a job: virtual time, a bucket, the engine's records, and points at which a
process may die."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pro_video.core.clock import VirtualClock
from pro_video.core.errors import LinkExpired, StorageUnavailable, TransferInterrupted
from pro_video.core.job_names import JobKeys, fact_label
from pro_video.core.progress import Stage
from pro_video.judging.verdict import OnDoubt, Verdict
from pro_video.records import Record
from pro_video.s3.storage import RECORD_BYTES, Naming, OnProgress, Storage, StoredObject
from tasks.run.progress import ProgressReporter

JOB_ID = "00000000-0000-4000-8000-000000000001"


@dataclass(eq=False)
class Process:
    """One process that works on the job.

    Attributes:
        place: where it dies; None where it dies nowhere, "" where each place counts.
        passes: how often it passes that place before.
        delay: seconds that pass before it begins.
        parks: may it leave long waits to a later process?
    """

    place: str | None = None
    passes: int = 0
    delay: float = 0.0
    parks: bool = False
    task: asyncio.Task[None] | None = None
    percents: list[float] = field(default_factory=list)


_process: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


def enter_process(process: Process) -> None:
    """Make ``process`` the one that the running task and its children are part of."""
    _process.set(process)


class Environment:
    """One job's surroundings, which survive its processes.

    Attributes:
        clock: the time of everyone; its wall clock is the worker's, which may be wrong.
        began_at: the right time at the clock's beginning, seconds since the epoch.
        objects: the bucket.
        records: what the flow engine has kept of finished tasks.
        planned: faults to come, by the call that they happen in.
        downloads: what is behind a provider's link now; None when it has run out.
        retried_at: when a user retried the job, on the monotonic clock.
        state: how the job stands, for its user.
        ends: how often the job has ended so far.
        starts: how many processes have begun with the job, but for those that go on with a
            parked wait.
        parked: the stage of the wait that the last process has parked.
        parked_in: all such stages.
        labels: of the job's flow run.
        heeds_conditions: does the bucket heed the condition of a write?
        tidied: have records been removed?
        verdicts: what the checks say of each copy of a step's result; of later ones, good.
        on_doubt: what the user wants of doubtful results.
        rejected: object that the last end has named as rejected.
        shown: objects that ends have named as rejected before the user went on.
        accepted: those that the user accepted.
        injected: faults that have happened.
    """

    def __init__(self) -> None:
        self.clock = VirtualClock(grace_turns=4)
        self.began_at = self.clock.time()
        self.objects: dict[str, bytes] = {}
        self.records: dict[str, tuple[type[Record], str]] = {}
        self.planned: defaultdict[str, deque[str | None]] = defaultdict(deque)
        self.downloads: Callable[[str], bytes | None] = lambda url: None
        self.retried_at: list[float] = []
        self.state = "running"
        self.ends = 0
        self.starts = 0
        self.parked: Stage | None = None
        self.parked_in: set[Stage] = set()
        self.labels: dict[str, str] = {}
        self.heeds_conditions = True
        self.tidied = False
        self.verdicts: dict[str, list[Verdict]] = {}
        self.on_doubt: OnDoubt = "deliver"
        self.rejected: str | None = None
        self.shown: set[str] = set()
        self.accepted: set[str] = set()
        self.injected = 0

    def fault(self, call: str) -> str | None:
        """The fault of this call, if one is planned."""
        queue = self.planned[call]
        if not queue:
            return None
        self.injected += 1
        return queue.popleft()

    async def point(self, place: str) -> None:
        """A place at which the process may die."""
        process = _process.get()
        if process.place is not None and place.startswith(process.place):
            process.passes -= 1
            if process.passes < 0:
                process.place = None
                self.injected += 1
                assert process.task is not None
                process.task.cancel()
        # Each call takes a moment, so that virtual time orders them all.
        await self.clock.sleep(0.01)

    def tidy(self, *, objects: bool = True) -> None:
        """Somebody removes the job's records: those of the flow engine, and the others."""
        self.tidied = True
        self.injected += 1
        self.records.clear()
        if objects:
            prefix = JobKeys(JOB_ID).record("")
            for key in [each for each in self.objects if each.startswith(prefix)]:
                del self.objects[key]

    def end(self, state: str, rejected: str | None) -> None:
        """The job has ended; only the first of several processes is heard."""
        if self.state == "running":
            self.state = state
            self.ends += 1
            self.rejected = rejected

    def verdict(self, step: str, copy: int) -> Verdict:
        """The verdict of the checks on a copy of a step's result."""
        planned = self.verdicts.get(step, [])
        return planned[copy - 1] if copy <= len(planned) else Verdict.GOOD

    def check_use(self, key: str, verdict: Verdict) -> None:
        """A result may be used only as its verdict, the user's wish and his decisions allow."""
        if verdict is Verdict.UNUSABLE:
            assert key in self.accepted, "an unusable result is used"
        elif verdict is Verdict.DOUBTFUL and self.on_doubt == "hold":
            assert key in self.shown, "a held result is used, and nobody has seen it"

    def retry(self) -> None:
        """A user retries the job."""
        assert self.state in ("failed", "cancelled")
        self.state = "running"
        if self.rejected is not None:
            self.shown.add(self.rejected)
        self.rejected = None
        self.retried_at.append(self.clock.monotonic())


class Bucket(Storage):
    """The bucket of an environment: each call takes a moment, may fail before it acts or after."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self.bucket = "jobs"

    async def _act(self) -> str | None:
        await self._env.point("bucket.before")
        fault = self._env.fault("bucket")
        if fault == "away":
            raise StorageUnavailable("S3 does not answer")
        return fault

    async def _acted(self, fault: str | None) -> None:
        await self._env.point("bucket.after")
        if fault == "answer-lost":
            raise StorageUnavailable("S3 did not answer")

    async def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> bool:
        fault = await self._act()
        objects = self._env.objects
        taken = if_absent and key in objects and self._env.heeds_conditions
        if not taken:
            objects[key] = data
        await self._acted(fault)
        # A repeated conditional write takes the bytes that it finds for its own when they are.
        return not taken or objects[key] == data

    async def get_bytes(self, key: str, limit: int = RECORD_BYTES) -> bytes | None:
        fault = await self._act()
        found = self._env.objects.get(key)
        await self._acted(fault)
        return found

    async def head(self, key: str) -> StoredObject | None:
        fault = await self._act()
        data = self._env.objects.get(key)
        await self._acted(fault)
        return None if data is None else _stored(key, data)

    async def fetch(
        self,
        url: str,
        key: str | Naming,
        *,
        expected_size: int | None = None,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
        deadline: float = 3600.0,
    ) -> StoredObject:
        assert isinstance(key, str)
        await self._env.point("transfer.before")
        data = self._env.downloads(url)
        fault = self._env.fault("transfer")
        if data is None or fault == "expired":
            raise LinkExpired("the link has run out")
        await self._env.clock.sleep(3.0)
        if on_progress is not None:
            on_progress(len(data) // 2, len(data))
        await self._env.point("transfer.half")
        if fault == "truncated":
            raise TransferInterrupted("fewer bytes than promised")
        if fault == "bucket-away":
            raise StorageUnavailable("S3 does not answer")
        self._env.objects[key] = data
        await self._env.point("transfer.after")
        return _stored(key, data)


def _stored(key: str, data: bytes) -> StoredObject:
    etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    return StoredObject(key, len(data), etag, None, "video/mp4")


class RecordedProgress(ProgressReporter):
    """Progress that is shown to the test alone."""

    def __init__(self, env: Environment) -> None:
        super().__init__(JOB_ID, clock=env.clock)
        self._env = env
        self.percents: list[float] = []

    async def _show_state(self, stage: Stage, message: str | None = None) -> bool:
        await asyncio.sleep(0)
        return True

    async def facts(self, facts: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        if "findings" not in facts and self._env.fault("label") is None:
            self._env.labels.update({fact_label(name): facts[name] for name in facts})

    async def _show_percent(self) -> None:
        self.percents.append(self.percent)
        self._written_at = self._clock.monotonic()
        await asyncio.sleep(0)
