"""Reads of jobs for polling clients, with few requests to Prefect.

One read from Prefect refreshes all jobs that are polled. Each response is made once and serves all
clients for a short time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from cachetools import LRUCache

from gateway.base.problems import not_found
from gateway.base.settings import GatewaySettings
from gateway.base.single_flight import SingleFlightCache
from gateway.bucket.bucket import Bucket
from gateway.prefect_client.api import PrefectApi
from gateway.prefect_client.runs import SHOWING, UNFINISHED, Run, Runs, owner_tag
from gateway.status.batch_cache import BatchCache
from gateway.status.status_response import StatusResponse
from pro_video.core.job_names import JobKeys
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.records import Cleaned, JobResult
from tasks.connections.prefect_queries import percent_in, progress_query

_BATCH = 200
# Seconds that a status may be older than usual while Prefect answers slowly.
_LATE_SECONDS = 4.0
_CACHED = 20_000
# A link is given out again during this part of its life.
_LINK_SHARE = 0.25
_START = {stage.value.name: stage.value.start for stage in Stage}


@dataclass(frozen=True)
class Snapshot:
    """The present state of a job in Prefect.

    Attributes:
        run: the run.
        percent: progress, 0 to 100; fits the stage of the run's state and never goes down.
    """

    run: Run
    percent: float


@dataclass(frozen=True)
class Ended:
    """The report and files of an ended job in the bucket, with fresh links."""

    report: JobResult | None
    output_url: str | None = None
    fallback_url: str | None = None
    rejected_url: str | None = None
    preview_url: str | None = None


@dataclass
class _Cached:
    """A snapshot and its response."""

    snapshot: Snapshot
    response: StatusResponse | None = None


class StatusReader:
    """The reads of one gateway."""

    def __init__(
        self, settings: GatewaySettings, api: PrefectApi, bucket: Bucket, runs: Runs
    ) -> None:
        self._api = api
        self._bucket = bucket
        self._runs = runs
        self._cache: BatchCache[UUID, _Cached] = BatchCache(
            self._read,
            seconds=settings.status_cache_seconds,
            late=_LATE_SECONDS,
            size=_CACHED,
            batch=_BATCH,
        )
        self._ended: SingleFlightCache[tuple[UUID, UUID, Cleaned | None], Ended] = (
            SingleFlightCache(size=_CACHED)
        )
        self._shown: LRUCache[UUID, float] = LRUCache(_CACHED)

    async def snapshot(self, owner: str, job_id: UUID) -> Snapshot:
        """A job of the owner, at most as old as the cache allows.

        Raises:
            ProblemError: 404, also for another owner's job; 503 when Prefect is away.
        """
        return (await self._cached(owner, job_id)).snapshot

    async def response(
        self, owner: str, job_id: UUID, render: Callable[[Snapshot], Awaitable[bytes]]
    ) -> StatusResponse:
        """The response with the body that ``render`` makes, once for each snapshot.

        Raises:
            ProblemError: as :meth:`snapshot`.
        """
        cached = await self._cached(owner, job_id)
        if cached.response is None:
            cached.response = StatusResponse.of(await render(cached.snapshot))
        return cached.response

    def cached_response(self, owner: str, job_id: UUID) -> StatusResponse | None:
        """The response for a job of the owner, when it was made before and is young enough."""
        found = self._cache.fresh(job_id)
        if found is None or owner_tag(owner) not in found.snapshot.run.tags:
            return None
        return found.response

    async def _cached(self, owner: str, job_id: UUID) -> _Cached:
        found = await self._cache.get(job_id)
        if found is None or owner_tag(owner) not in found.snapshot.run.tags:
            raise not_found("job")
        return found

    async def _read(self, ids: Sequence[UUID]) -> dict[UUID, _Cached]:
        runs, percents = await asyncio.gather(self._runs.by_ids(ids), self._percents(ids))
        return {run.id: self._refreshed(run, percents.get(run.id, 0.0)) for run in runs.values()}

    def _refreshed(self, run: Run, percent: float) -> _Cached:
        snapshot = Snapshot(run, self._coherent(run, percent))
        earlier = self._cache.peek(run.id)
        # The view of an ended job has links, which expire; that of a crashed one changes with time
        # alone.
        if earlier is not None and run.state.type in UNFINISHED and snapshot == earlier.snapshot:
            return _Cached(snapshot, earlier.response)
        return _Cached(snapshot)

    async def snapshots(self, runs: list[Run]) -> list[Snapshot]:
        """Runs that were just read, with their percentages."""
        percents = await self._percents([run.id for run in runs])
        return [Snapshot(run, self._coherent(run, percents.get(run.id, 0.0))) for run in runs]

    def forget(self, job_id: UUID) -> None:
        """Read a job again that was just changed."""
        self._cache.forget(job_id)

    async def ended(self, run: Run) -> Ended:
        """The report and links of a job that ended; empty when there is no report of this end, or
        when it was removed with the results."""
        cleaned = run.cleaned
        if cleaned is not None and "results" in cleaned.kinds:
            return Ended(None)
        life = get_settings().link_hours * 3600
        return await self._ended.get(
            (run.id, run.state.id, cleaned),
            lambda: self._read_end(run, life),
            seconds=life * _LINK_SHARE,
        )

    async def close(self) -> None:
        """Cancel the running reads."""
        await self._cache.close()

    def _coherent(self, run: Run, percent: float) -> float:
        """A percentage not below the start of the stage, nor below an earlier one.

        Jobs write the state before the percentage, and may die in between.
        """
        start = _START.get(run.state.name, 0.0) if run.state.type in SHOWING else 0.0
        shown = self._shown[run.id] = max(percent, start, self._shown.get(run.id, 0.0))
        return shown

    async def _percents(self, ids: Sequence[UUID]) -> dict[UUID, float]:
        if not ids:
            return {}
        answer = await self._api.call("POST", "/artifacts/filter", json=progress_query(ids))
        found: dict[UUID, float] = {}
        for artifact in answer.json():
            found.setdefault(UUID(artifact["flow_run_id"]), percent_in(artifact.get("data")))
        return found

    async def _read_end(self, run: Run, life: float) -> Ended:
        storage = await self._bucket.storage()
        raw = await storage.get_bytes(JobKeys(str(run.id)).report)
        report = JobResult.of_end(raw, run.state.type.lower(), run.state.message)
        if report is None:
            return Ended(None)

        async def link(key: str | None) -> str | None:
            return None if key is None else await storage.presign(key, life)

        return Ended(
            report,
            output_url=await link(report.output_key),
            fallback_url=await link(report.fallback_key),
            rejected_url=await link(report.rejected_key),
            preview_url=await link(report.preview_key),
        )
