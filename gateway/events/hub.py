"""One subscription at Prefect for all listeners of all jobs.

Prefect's event stream says which jobs have changed. Their new state is then read from its API,
together with the percentages, for all watched jobs at once. A lost event therefore only delays a
change until the next full read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from pydantic import TypeAdapter

from gateway.base.problems import ProblemError, not_found
from gateway.events.history import History, Moment
from gateway.prefect_client.api import PrefectApi, PrefectRefused
from gateway.prefect_client.runs import Run, Runs, RunState
from gateway.status.status_reader import StatusReader
from pro_video.core.retrying import Backoff, keep_running

logger = logging.getLogger("pro_video.gateway.events")

_STATES = TypeAdapter(list[RunState])
_PREFIX = "prefect.flow-run."
_BATCH = 200
_READS_AT_ONCE = 8
# An event emitted while a subscription begins may be missing from it and from its backfill.
_SETTLE_SECONDS = 6.0
_RECONNECT = Backoff(first=0.5, longest=15.0)


class Listener:
    """One client's queue; full means that the client does not read, and ends its stream."""

    def __init__(self, size: int) -> None:
        # One place more: None, which wakes a stream that is told to end.
        self.queue: asyncio.Queue[Moment | None] = asyncio.Queue(size + 1)
        self.is_over = False
        self._size = size

    def offer(self, moment: Moment) -> None:
        """Hand an event over; never waits."""
        if self.is_over:
            return
        if self.queue.qsize() >= self._size:
            self.end()
        else:
            self.queue.put_nowait(moment)

    def end(self) -> None:
        """Let the stream end after what is in the queue; its client comes back by itself."""
        if not self.is_over:
            self.is_over = True
            self.queue.put_nowait(None)


@dataclass(frozen=True)
class Seat:
    """One listener's place.

    Attributes:
        missed: the events to send first.
        is_over: the job has ended; nothing comes after that.
        listener: the queue of later events.
    """

    missed: list[Moment]
    is_over: bool
    listener: Listener


class _Watched:
    """One job and who listens."""

    def __init__(self) -> None:
        self.history = History()
        self.listeners: set[Listener] = set()
        self.loading: asyncio.Task[None] | None = None


class EventHub:
    """The watched jobs of one application. Works only while there are listeners.

    Args:
        api: Prefect.
        runs: reads runs.
        status: reads percentages.
        look_seconds: pause between two looks at the percentages.
        full_seconds: pause between two looks at all watched jobs' states.
        queue_size: events that a listener may be behind.
    """

    def __init__(
        self,
        api: PrefectApi,
        runs: Runs,
        status: StatusReader,
        *,
        look_seconds: float = 1.0,
        full_seconds: float = 10.0,
        queue_size: int = 64,
    ) -> None:
        self._api = api
        self._runs = runs
        self._status = status
        self._look_seconds = look_seconds
        self._full_seconds = full_seconds
        self._queue_size = queue_size
        self._jobs: dict[UUID, _Watched] = {}
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()
        self._follows_from = math.inf
        self._tasks: list[asyncio.Task[None]] = []
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)

    @property
    def listeners(self) -> int:
        """The number of clients that listen."""
        return sum(len(job.listeners) for job in self._jobs.values())

    @property
    def upstreams(self) -> int:
        """The number of subscriptions at Prefect: one or none."""
        return int(bool(self._tasks))

    @contextlib.asynccontextmanager
    async def listening(self, job_id: UUID, last_event_id: str | None) -> AsyncIterator[Seat]:
        """Listen to a job: what was missed, and a queue of what comes after it.

        Raises:
            ProblemError: 404 when the job is gone, 503 when Prefect is away.
        """
        watched = self._jobs.setdefault(job_id, _Watched())
        listener = Listener(self._queue_size)
        # From here on, so that no other listener's end forgets the job.
        watched.listeners.add(listener)
        try:
            await self._load(job_id, watched)
            self._start()
            while not listener.queue.empty():
                listener.queue.get_nowait()
            # Nothing can come in between these lines: there is no other thread.
            history = watched.history
            yield Seat(history.since(last_event_id), history.current.is_final, listener)
        finally:
            watched.listeners.discard(listener)
            if not watched.listeners:
                self._jobs.pop(job_id, None)
            if not self._jobs:
                await self.close()

    def end_all(self) -> None:
        """Let all streams end; for a gateway that stops."""
        for job in self._jobs.values():
            for listener in job.listeners:
                listener.end()

    async def close(self) -> None:
        """End the watch."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, job_id: UUID, watched: _Watched) -> None:
        if watched.history.state_id is not None:
            return
        if watched.loading is None or watched.loading.done():
            watched.loading = asyncio.create_task(self._read_first(job_id, watched))
            watched.loading.add_done_callback(_retrieve)
        # A listener that leaves must not end the read of the others.
        await asyncio.shield(watched.loading)

    async def _read_first(self, job_id: UUID, watched: _Watched) -> None:
        run = (await self._runs.by_ids([job_id])).get(job_id)
        if run is None:
            raise not_found("job")
        states = await self._states(job_id)
        percent = (await self._status.snapshots([run]))[0].percent
        watched.history.take(run, states, percent)

    async def _states(self, job_id: UUID) -> list[RunState]:
        try:
            async with self._reads:
                answer = await self._api.call("GET", f"/flow_run_states/?flow_run_id={job_id}")
        except PrefectRefused as refused:
            if refused.status == 404:
                return []
            raise
        return _STATES.validate_json(answer.content)

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(keep_running("The watch of jobs", self._look_forever)),
                asyncio.create_task(keep_running("The event stream", self._follow_forever)),
            ]

    async def _look_forever(self) -> None:
        full_at = time.monotonic() + self._full_seconds
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            try:
                now = time.monotonic()
                if now < self._follows_from or now >= full_at:
                    full_at = now + self._full_seconds
                    await self._look(list(self._jobs))
                elif changed:
                    await self._look([job_id for job_id in changed if job_id in self._jobs])
                else:
                    await self._look_at_percents()
            except (ProblemError, PrefectRefused) as error:
                # Prefect is away: the next look tells all that was missed.
                logger.info("Could not look at the watched jobs: %s", error)
                full_at = time.monotonic()

    async def _look(self, ids: Sequence[UUID]) -> None:
        for first in range(0, len(ids), _BATCH):
            runs = await self._runs.by_ids(ids[first : first + _BATCH])
            snapshots = await self._status.snapshots(list(runs.values()))
            await asyncio.gather(*(self._take(one.run, one.percent) for one in snapshots))

    async def _look_at_percents(self) -> None:
        known = [job.history.run for job in self._jobs.values() if job.history.run is not None]
        for first in range(0, len(known), _BATCH):
            for one in await self._status.snapshots(known[first : first + _BATCH]):
                self._publish(one.run.id, one.run, [], one.percent)

    async def _take(self, run: Run, percent: float) -> None:
        watched = self._jobs.get(run.id)
        if watched is None:
            return
        known = watched.history.state_id == str(run.state.id)
        # The states in between would be missed otherwise.
        states = [] if known else await self._states(run.id)
        self._publish(run.id, run, states, percent)

    def _publish(self, job_id: UUID, run: Run, states: Sequence[RunState], percent: float) -> None:
        watched = self._jobs.get(job_id)
        if watched is None:
            return
        moments = watched.history.take(run, states, percent)
        for moment in moments:
            for listener in watched.listeners:
                listener.offer(moment)

    async def _follow_forever(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - looks go on; the follower must never end
                logger.debug("No event stream at the moment: %s", type(error).__name__)
            finally:
                self._follows_from = math.inf
            failures = 1 if time.monotonic() - began > 60 else failures + 1
            await asyncio.sleep(_RECONNECT.pause(failures))

    async def _follow(self) -> None:
        names = EventNameFilter(prefix=[_PREFIX], exclude_name=[f"{_PREFIX}heartbeat"])
        subscriber = get_events_subscriber(filter=EventFilter(event=names), reconnection_attempts=0)
        try:
            await subscriber.__aenter__()
            self._follows_from = time.monotonic() + _SETTLE_SECONDS
            async for event in subscriber:
                with contextlib.suppress(ValueError):
                    job_id = UUID(event.resource.id.removeprefix(_PREFIX))
                    if job_id in self._jobs:
                        self._changed.add(job_id)
                        self._wake.set()
        finally:
            # Also when the entering itself was ended: its connection may stand already.
            await subscriber.__aexit__(None, None, None)


def _retrieve(task: asyncio.Task[None]) -> None:
    # All who waited may have left; asking keeps asyncio from reporting the error as lost.
    if not task.cancelled():
        task.exception()
