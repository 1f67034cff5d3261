"""Looks at the providers for the parked jobs of one worker process, and ends their waits early.

A parked job begins again by itself at the time of its state. This watch only brings that forward,
and keeps the percentage moving meanwhile: nothing depends on it. It keeps no table of its own. The
parked jobs are what Prefect says they are; a worker looks for those that it parked itself, and for
its share of those whose worker is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    ProVideoError,
    RateLimited,
    TerminalError,
    TransientError,
)
from pro_video.core.progress import Stage, expected_fraction
from pro_video.core.retrying import Backoff, keep_running
from pro_video.core.settings import get_settings
from pro_video.records import Awaited
from tasks.attempts.access import blocked_message
from tasks.attempts.provider import MOST_READ, Provider
from tasks.connections.prefect_queries import percent_in, read_progress
from tasks.connections.run_history import NEWS, parked_in
from tasks.inpainting import ghostcut
from tasks.lip_sync import sync_so
from tasks.run.cancelled import end_cancelled, was_parked

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger("prefect.workers.pro_video")

Open = Callable[[], AbstractAsyncContextManager[Provider[Any]]]

PROVIDERS: Final[Mapping[str, Open]] = {"sync-so": sync_so, "ghostcut": ghostcut}
"""The providers, by their names in the addresses of callbacks."""

# Seconds after which any worker of the pool ends a cancelled job of another one.
_LATE_CANCEL = 20.0
_STAGES: Final = [stage for stage in Stage if stage.waits]

# Pause between two requests to one provider, in seconds: a tenth of Sync.so's budget of reads.
_PAUSE = 1.0
# Jobs that a listing left out and that are read one by one before the next request.
_SINGLE = 5
# Pause between two reads of all parked runs, in seconds: 5,000 of them are 25 requests.
_LIST_SECONDS = 60.0
_PAGE = 200
# Percentages and messages written in a second.
_WRITES = 4
# Pause before another look at a job that was woken and parked again, by the number of times.
_AGAIN = Backoff(first=15.0, longest=600.0)
_TROUBLE = Backoff(first=2.0, longest=60.0)


@dataclass(slots=True)
class _Job:
    """One parked job.

    Attributes:
        message: of its state while nothing blocks the provider's account.
        shown: the message that its state has now.
        look_at: time of the next look on the monotonic clock.
        percent: its progress; ``written`` is the one that Prefect shows.
        kept_at: time at which Prefect was last seen to have it parked.
    """

    run_id: UUID
    stage: Stage
    awaited: Awaited
    message: str
    shown: str
    look_at: float
    kept_at: float
    percent: float = 0.0
    written: float = 0.0
    artifact: UUID | None = None


class ParkedJobs:
    """The parked jobs of one worker, by provider. For one event loop.

    Args:
        work_pool: name of the worker's pool.
        worker: the worker's name.
        on_wake: called after a run was scheduled for now.
        providers: opens each provider.
        clock: source of time.
    """

    def __init__(
        self,
        work_pool: str,
        worker: str,
        on_wake: Callable[[], object],
        *,
        providers: Mapping[str, Open] = PROVIDERS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._work_pool = work_pool
        self._worker = worker
        self._on_wake = on_wake
        self._providers = providers
        self._clock = clock
        self._online: Sequence[str] = ()
        self._jobs: dict[str, dict[str, _Job]] = {slug: {} for slug in providers}
        self._fresh: OrderedDict[UUID, None] = OrderedDict()
        self._woken: dict[UUID, int] = {}
        self._blocked: dict[str, str] = {}
        self._changed: OrderedDict[UUID, _Job] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._jobs.values()))

    def is_ours(self, run: FlowRun) -> bool:
        """Does this worker look for a run, or end it when it is cancelled while it is parked?

        Those that it parked itself, and its share of those whose worker is gone.
        """
        owner, online = run.labels.get("prefect.worker.name"), self._online
        if owner not in online and online:
            owner = online[run.id.int % len(online)]
        return run.work_pool_name == self._work_pool and owner == self._worker

    def answers_for(self, run: FlowRun) -> bool:
        """Does this worker end a cancelled job? Another one than its owner does so a while later:
        a lost worker counts as online for minutes."""
        if run.state is None or run.work_pool_name != self._work_pool:
            return False
        waited = (datetime.now(UTC) - run.state.timestamp).total_seconds()
        return self.is_ours(run) or waited > _LATE_CANCEL

    def add(self, run_id: UUID) -> None:
        """Look for a run that has just been parked."""
        self._fresh[run_id] = None

    def wake(self, provider: str, job_id: str) -> bool:
        """Look at a provider's job next, after its callback; False when no job here waits for it.

        The truth is read from the provider's API, whoever sent the callback.
        """
        job = self._jobs.get(provider, {}).get(job_id)
        if job is None:
            return False
        job.look_at = float("-inf")
        return True

    async def watch(self) -> None:
        """Look until cancelled."""
        async with get_client() as client, asyncio.TaskGroup() as group:
            works: dict[str, Callable[[PrefectClient], Awaitable[None]]] = {
                f"The looks at {slug}": partial(self._look, slug) for slug in self._providers
            }
            works |= {"The list of parked jobs": self._list, "The parked states": self._write}
            for name, work in works.items():
                group.create_task(keep_running(name, partial(work, client), clock=self._clock))

    # The parked jobs, as Prefect has them

    async def _list(self, client: PrefectClient) -> None:
        listed_at = float("-inf")
        while True:
            now = self._clock.monotonic()
            try:
                if now - listed_at >= _LIST_SECONDS:
                    await self._list_all(client)
                    listed_at = now
                elif self._fresh:
                    await self._list_fresh(client)
            except httpx.HTTPError as error:
                logger.debug("Could not list the parked jobs: %s", type(error).__name__)
            await self._clock.sleep(_PAUSE)

    async def _list_fresh(self, client: PrefectClient) -> None:
        ids = list(self._fresh)[:_PAGE]
        for run in await self._runs(client, 0, FlowRunFilterId(any_=ids)):
            self._keep(run)
        for run_id in ids:
            self._fresh.pop(run_id, None)

    async def _list_all(self, client: PrefectClient) -> None:
        began = self._clock.monotonic()
        workers = await client.read_workers_for_work_pool(self._work_pool)
        self._online = sorted({each.name for each in workers if each.status is WorkerStatus.ONLINE})
        page = 0
        while True:
            runs = await self._runs(client, page)
            for run in runs:
                if self.is_ours(run):
                    self._keep(run)
            if len(runs) < _PAGE:
                break
            page += 1
        for job in [job for jobs in self._jobs.values() for job in jobs.values()]:
            if job.kept_at < began:
                self._drop(job)
                await self._left(client, job)
        parked = {job.run_id for jobs in self._jobs.values() for job in jobs.values()}
        self._woken = {run_id: n for run_id, n in self._woken.items() if run_id in parked}

    async def _left(self, client: PrefectClient, job: _Job) -> None:
        """Give the report of its end to a job that Prefect has cancelled without a word."""
        with contextlib.suppress(ObjectNotFound):
            run = await client.read_flow_run(job.run_id)
            state = run.state
            if state is None or not state.is_cancelled() or state.message:
                return
            if await was_parked(client, run):
                # In a context of its own, which is bound to the job's bucket.
                await asyncio.create_task(end_cancelled(client, run))

    async def _runs(
        self, client: PrefectClient, page: int, ids: FlowRunFilterId | None = None
    ) -> list[FlowRun]:
        state = FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]),
            name=FlowRunFilterStateName(any_=[stage.value.name for stage in _STAGES]),
        )
        return await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=ids, state=state),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._work_pool])),
            sort=FlowRunSort.ID_DESC,
            limit=_PAGE,
            offset=page * _PAGE,
        )

    def _keep(self, run: FlowRun) -> None:
        begins_at = run.next_scheduled_start_time
        if run.state is None or begins_at is None or begins_at <= datetime.now(UTC):
            return
        stage, shown = parked_in(run.state), run.state.message or ""
        awaited = Awaited.of(run.labels)
        if stage is None or awaited is None or awaited.stage != stage.label:
            # It begins again at its own time.
            return
        jobs, now = self._jobs.get(awaited.provider, {}), self._clock.monotonic()
        known = jobs.get(awaited.job_id)
        if known is not None and known.run_id == run.id:
            known.kept_at = now
            return
        times = self._woken.get(run.id, 0)
        jobs[awaited.job_id] = _Job(
            run_id=run.id,
            stage=stage,
            awaited=awaited,
            message=shown if shown.startswith(stage.value.message) else stage.value.message,
            shown=shown,
            look_at=now + (_AGAIN.pause(times) if times else get_settings().poll_seconds),
            kept_at=now,
        )

    # Looks at the providers

    async def _look(self, slug: str, client: PrefectClient) -> None:
        failures = 0
        while True:
            due = self._due(slug)
            if due:
                try:
                    async with self._providers[slug]() as provider:
                        await self._look_at(client, provider, due)
                    self._blocked.pop(slug, None)
                    failures = 0
                except (CredentialsRefused, AccountBlocked) as error:
                    failures += 1
                    self._block(slug, f"{blocked_message(error)} The job goes on by itself.")
                except (ProVideoError, httpx.HTTPError) as error:
                    failures += 1
                    if failures == 1:
                        logger.info("Cannot look for parked jobs at %s: %s", slug, error)
            await self._clock.sleep(max(_PAUSE, _TROUBLE.pause(failures) if failures else 0.0))

    def _due(self, slug: str) -> list[_Job]:
        now = self._clock.monotonic()
        due = (job for job in self._jobs[slug].values() if job.look_at <= now)
        return heapq.nsmallest(MOST_READ, due, key=lambda job: job.look_at)

    def _block(self, slug: str, message: str) -> None:
        if self._blocked.get(slug) != message:
            logger.warning("%s (%d parked jobs)", message, len(self._jobs[slug]))
            self._blocked[slug] = message
            self._changed |= {job.run_id: job for job in self._jobs[slug].values()}

    async def _look_at(
        self, client: PrefectClient, provider: Provider[Any], due: Iterable[_Job]
    ) -> None:
        by_id = {job.awaited.job_id: job for job in due}
        try:
            found = await provider.read_many(list(by_id))
        except (CredentialsRefused, AccountBlocked, RateLimited):
            raise
        except ProVideoError as error:
            logger.debug("No list of jobs at %s: %s", provider.name, error)
            found = {}
        now = self._clock.monotonic()
        for job_id, seen in found.items():
            by_id[job_id].look_at = now + get_settings().poll_seconds
            await self._seen(client, provider, by_id[job_id], seen)
        for job_id in [each for each in by_id if each not in found][:_SINGLE]:
            job = by_id[job_id]
            job.look_at = now + get_settings().poll_seconds
            try:
                seen = await provider.read(job_id)
            except (CredentialsRefused, AccountBlocked):
                raise
            except TerminalError:
                await self._begin_again(client, job)
            except TransientError as error:
                logger.debug("Could not read %s: %s", job_id, error)
            else:
                await self._seen(client, provider, job, seen)

    async def _seen(
        self, client: PrefectClient, provider: Provider[Any], job: _Job, seen: Any
    ) -> None:
        running = provider.still_running(seen)
        if running is None:
            await self._begin_again(client, job)
            return
        fraction = running.progress
        if fraction is None:
            age = self._clock.time() - job.awaited.since.timestamp()
            fraction = expected_fraction(age, job.awaited.expected_seconds)
        job.percent = max(job.percent, job.stage.percent(fraction))
        if job.percent >= job.written + 1 or job.shown != job.message:
            self._changed.setdefault(job.run_id, job)

    async def _begin_again(self, client: PrefectClient, job: _Job) -> None:
        """Schedule a job for now, because its provider's job has ended or is gone."""
        if await self._set(client, job, NEWS, now=True):
            self._woken[job.run_id] = self._woken.get(job.run_id, 0) + 1
            self._on_wake()
        self._drop(job)

    def _drop(self, job: _Job) -> None:
        jobs = self._jobs[job.awaited.provider]
        if jobs.get(job.awaited.job_id) is job:
            del jobs[job.awaited.job_id]
        self._changed.pop(job.run_id, None)

    # Writes to Prefect

    async def _write(self, client: PrefectClient) -> None:
        while True:
            for _ in range(min(_WRITES, len(self._changed))):
                _, job = self._changed.popitem(last=False)
                try:
                    await self._show(client, job)
                except (httpx.HTTPError, ObjectNotFound) as error:
                    logger.debug("Could not show a parked job: %s", type(error).__name__)
            await self._clock.sleep(1.0)

    async def _show(self, client: PrefectClient, job: _Job) -> None:
        message = self._blocked.get(job.awaited.provider, job.message)
        if message != job.shown:
            if not await self._set(client, job, message, now=False):
                self._drop(job)
                return
            job.shown = message
        if job.artifact is None:
            found = await read_progress(client, job.run_id)
            if found is None:
                return
            job.artifact, job.written = found.id, percent_in(found.data)
        if job.percent > job.written:
            await client.update_artifact(job.artifact, ArtifactUpdate(data=job.percent))
            job.written = job.percent

    async def _set(self, client: PrefectClient, job: _Job, message: str, *, now: bool) -> bool:
        """Set the state of a job that is still parked; False when it is not.

        Read directly before, so that a job which was cancelled or goes on already stays so.
        """
        try:
            run = await client.read_flow_run(job.run_id)
        except ObjectNotFound:
            return False
        if run.state is None or parked_in(run.state) is not job.stage:
            return False
        when = datetime.now(UTC) if now else run.next_scheduled_start_time
        state: State[Any] = Scheduled(
            name=job.stage.value.name, message=message, scheduled_time=when
        )
        await client.set_flow_run_state(job.run_id, state)
        return True
