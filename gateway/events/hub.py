"""One subscription at Prefect for all clients that follow jobs.

Prefect's event stream says which jobs have changed. Their states and percentages are then read from
its API, for all followed jobs at once. A lost event therefore only delays a change until the next
full read.
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
from gateway.events.history import JobHistory, StreamEvent
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


class Subscription:
    """The queue of one client. A client that does not read fills it, and its stream ends."""

    def __init__(self, size: int) -> None:
        # One place more, for the None that ends the stream.
        self.queue: asyncio.Queue[StreamEvent | None] = asyncio.Queue(size + 1)
        self.is_over = False
        self._size = size

    def offer(self, event: StreamEvent) -> None:
        """Add an event, without waiting."""
        if self.is_over:
            return
        if self.queue.qsize() >= self._size:
            self.end()
        else:
            self.queue.put_nowait(event)

    def end(self) -> None:
        """End the stream after the events in the queue; its client reconnects by itself."""
        if not self.is_over:
            self.is_over = True
            self.queue.put_nowait(None)


@dataclass(frozen=True)
class Followed:
    """A job that a client follows.

    Attributes:
        missed: the events to send first.
        has_ended: whether the job has ended, so that no other events follow.
        subscription: the queue of later events.
    """

    missed: list[StreamEvent]
    has_ended: bool
    subscription: Subscription


class _Job:
    """A followed job and its subscriptions."""

    def __init__(self) -> None:
        self.history = JobHistory()
        self.subscriptions: set[Subscription] = set()
        self.loading: asyncio.Task[None] | None = None


class EventHub:
    """The followed jobs of one application. Works only while there are subscriptions.

    Args:
        api: Prefect.
        runs: reads runs.
        status: reads percentages.
        look_seconds: pause between two reads of the percentages.
        full_seconds: pause between two reads of all states.
        queue_size: events that a client may be behind.
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
        self._jobs: dict[UUID, _Job] = {}
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()
        self._follows_from = math.inf
        self._tasks: list[asyncio.Task[None]] = []
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)

    @property
    def subscriptions(self) -> int:
        """The number of clients that follow a job."""
        return sum(len(job.subscriptions) for job in self._jobs.values())

    @property
    def upstreams(self) -> int:
        """The number of connections to Prefect's event stream: one or none."""
        return int(bool(self._tasks))

    @contextlib.asynccontextmanager
    async def following(self, job_id: UUID, last_event_id: str | None) -> AsyncIterator[Followed]:
        """Follow a job: the events after an id, and a queue of those to come.

        Raises:
            ProblemError: 404 when the job is gone, 503 when Prefect is away.
        """
        job = self._jobs.setdefault(job_id, _Job())
        subscription = Subscription(self._queue_size)
        # First of all, so that the end of another subscription does not drop the job.
        job.subscriptions.add(subscription)
        try:
            await self._load(job_id, job)
            self._start()
            while not subscription.queue.empty():
                subscription.queue.get_nowait()
            # No event can come between these lines: there is no other thread and no await.
            history = job.history
            yield Followed(history.since(last_event_id), history.current.is_final, subscription)
        finally:
            job.subscriptions.discard(subscription)
            if not job.subscriptions:
                self._jobs.pop(job_id, None)
            if not self._jobs:
                await self.close()

    def end_all(self) -> None:
        """End all streams, for a gateway that stops."""
        for job in self._jobs.values():
            for subscription in job.subscriptions:
                subscription.end()

    async def close(self) -> None:
        """Stop reading from Prefect."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, job_id: UUID, job: _Job) -> None:
        if job.history.state_id is not None:
            return
        if job.loading is None or job.loading.done():
            job.loading = asyncio.create_task(self._read_first(job_id, job))
            job.loading.add_done_callback(_retrieve)
        # A client that leaves must not end the read of the others.
        await asyncio.shield(job.loading)

    async def _read_first(self, job_id: UUID, job: _Job) -> None:
        run = (await self._runs.by_ids([job_id])).get(job_id)
        if run is None:
            raise not_found("job")
        states = await self._states(job_id)
        percent = (await self._status.snapshots([run]))[0].percent
        job.history.update(run, states, percent)

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
                asyncio.create_task(keep_running("The reads of followed jobs", self._read_forever)),
                asyncio.create_task(keep_running("Prefect's event stream", self._follow_forever)),
            ]

    async def _read_forever(self) -> None:
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
                    await self._read(list(self._jobs))
                elif changed:
                    await self._read([job_id for job_id in changed if job_id in self._jobs])
                else:
                    await self._read_percents()
            except (ProblemError, PrefectRefused) as error:
                # Prefect is away: the next read finds all that was missed.
                logger.info("Could not read the followed jobs: %s", error)
                full_at = time.monotonic()

    async def _read(self, ids: Sequence[UUID]) -> None:
        for first in range(0, len(ids), _BATCH):
            runs = await self._runs.by_ids(ids[first : first + _BATCH])
            snapshots = await self._status.snapshots(list(runs.values()))
            await asyncio.gather(*(self._update(one.run, one.percent) for one in snapshots))

    async def _read_percents(self) -> None:
        known = [job.history.run for job in self._jobs.values() if job.history.run is not None]
        for first in range(0, len(known), _BATCH):
            for one in await self._status.snapshots(known[first : first + _BATCH]):
                self._publish(one.run, [], one.percent)

    async def _update(self, run: Run, percent: float) -> None:
        job = self._jobs.get(run.id)
        if job is not None:
            is_known = job.history.state_id == str(run.state.id)
            # All of them: there may be states between the last known one and this one.
            states = [] if is_known else await self._states(run.id)
            self._publish(run, states, percent)

    def _publish(self, run: Run, states: Sequence[RunState], percent: float) -> None:
        job = self._jobs.get(run.id)
        if job is not None:
            for event in job.history.update(run, states, percent):
                for subscription in job.subscriptions:
                    subscription.offer(event)

    async def _follow_forever(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - the reads go on without it
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
            # Also when entering was cancelled: the connection may be open already.
            await subscriber.__aexit__(None, None, None)


def _retrieve(task: asyncio.Task[None]) -> None:
    # Without a waiter asyncio would report the error as never retrieved.
    if not task.cancelled():
        task.exception()
