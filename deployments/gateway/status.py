"""Reads of jobs for those who poll: many askers, few questions to Prefect.

Questions for single jobs that come within a few milliseconds travel as one, and an answer serves
everybody for a short time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.gateway.cache import FlightCache
from deployments.gateway.context import GatewayContext
from deployments.gateway.problems import not_found
from deployments.gateway.runs import Run, Runs, owner_tag
from pro_video.job import JobKeys
from pro_video.settings import get_settings

# Key of the progress artifacts that the jobs write (see tasks.progress).
_PROGRESS = "pro-video-progress"
_GATHER_SECONDS = 0.005
_BATCH = 200
_CACHED = 20_000
_REPORT_BYTES = 4 * 1024 * 1024
# A link is handed out again for this part of its life at most.
_LINK_SHARE = 0.25


class ReportError(BaseModel):
    """Why a job failed, as its report says it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stage: str = ""
    kind: str = ""
    message: str = ""
    code: str | None = None
    provider: str | None = None
    request_id: str | None = None


class Report(BaseModel):
    """The part of a job's report (``job.json``) that a view needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str
    message: str = ""
    output_key: str | None = None
    fallback_key: str | None = None
    preview_key: str | None = None
    metadata: dict[str, Any] = {}
    timings: dict[str, float] = {}
    estimated_cost_usd: str | float | None = None
    error: ReportError | None = None
    completed_at: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """What Prefect says of a job now: the run, and the percentage that its artifact shows."""

    run: Run
    percent: float


@dataclass(frozen=True)
class Ended:
    """What the bucket has of a job that ended, with fresh links."""

    report: Report | None
    output_url: str | None = None
    fallback_url: str | None = None
    preview_url: str | None = None


@dataclass
class _Cached:
    """A snapshot, and the answer that was made of it."""

    snapshot: Snapshot
    body: bytes | None = None


class StatusReader:
    """The reads of one gateway."""

    def __init__(self, context: GatewayContext, runs: Runs) -> None:
        self._context = context
        self._runs = runs
        self._snapshots: FlightCache[UUID, _Cached | None] = FlightCache(size=_CACHED)
        self._ended: FlightCache[tuple[UUID, UUID], Ended] = FlightCache(size=_CACHED)
        self._waiting: dict[UUID, asyncio.Future[Snapshot | None]] = {}
        self._batches: set[asyncio.Task[None]] = set()

    async def snapshot(self, owner: str, job_id: UUID) -> Snapshot:
        """A job of the owner, as it was at most the cache's time ago.

        Raises:
            ProblemError: 404, also for the job of somebody else; 503 when Prefect is away.
        """
        return (await self._cached(owner, job_id)).snapshot

    async def body(
        self, owner: str, job_id: UUID, render: Callable[[Snapshot], Awaitable[bytes]]
    ) -> bytes:
        """What ``render`` makes of :meth:`snapshot`, made once for all who get the same one."""
        cached = await self._cached(owner, job_id)
        if cached.body is None:
            cached.body = await render(cached.snapshot)
        return cached.body

    async def _cached(self, owner: str, job_id: UUID) -> _Cached:
        found = await self._snapshots.get(
            job_id,
            lambda: self._look(job_id),
            seconds=self._context.settings.status_cache_seconds,
        )
        if found is None or owner_tag(owner) not in found.snapshot.run.tags:
            raise not_found("job")
        return found

    async def _look(self, job_id: UUID) -> _Cached | None:
        snapshot = await self._join_batch(job_id)
        return None if snapshot is None else _Cached(snapshot)

    async def snapshots(self, runs: list[Run]) -> list[Snapshot]:
        """Runs that were just read, with their percentages."""
        percents = await self._percents([run.id for run in runs])
        return [Snapshot(run, percents.get(run.id, 0.0)) for run in runs]

    def forget(self, job_id: UUID) -> None:
        """Look anew at a job that was just changed."""
        self._snapshots.forget(job_id)

    async def ended(self, run: Run) -> Ended:
        """The report and links of a job that ended; empty when there is no report of this end."""
        life = get_settings().link_hours * 3600
        return await self._ended.get(
            (run.id, run.state.id), lambda: self._read_end(run, life), seconds=life * _LINK_SHARE
        )

    async def close(self) -> None:
        """End the reads that are under way."""
        for batch in list(self._batches):
            batch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await batch

    async def _join_batch(self, job_id: UUID) -> Snapshot | None:
        waiter = self._waiting.get(job_id)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            if not self._waiting:
                batch = asyncio.create_task(self._run_batch())
                self._batches.add(batch)
                batch.add_done_callback(self._batches.discard)
            self._waiting[job_id] = waiter
        return await asyncio.shield(waiter)

    async def _run_batch(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        asked, self._waiting = self._waiting, {}
        ids = list(asked)
        groups = [ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH)]
        await asyncio.gather(*(self._answer(group, asked) for group in groups))

    async def _answer(
        self, ids: list[UUID], asked: dict[UUID, asyncio.Future[Snapshot | None]]
    ) -> None:
        try:
            runs, percents = await asyncio.gather(self._runs.by_ids(ids), self._percents(ids))
        except BaseException as error:
            for job_id in ids:
                asked[job_id].set_exception(
                    error if isinstance(error, Exception) else asyncio.CancelledError()
                )
            if not isinstance(error, Exception):
                raise
            return
        for job_id in ids:
            run = runs.get(job_id)
            asked[job_id].set_result(Snapshot(run, percents.get(job_id, 0.0)) if run else None)

    async def _percents(self, ids: list[UUID]) -> dict[UUID, float]:
        if not ids:
            return {}
        body = {
            "artifacts": {
                "key": {"any_": [_PROGRESS]},
                "flow_run_id": {"any_": [str(one) for one in ids]},
            },
            "sort": "CREATED_DESC",
            "limit": len(ids),
        }
        answer = await self._context.api.call("POST", "/artifacts/filter", json=body)
        found: dict[UUID, float] = {}
        for artifact in answer.json():
            data = artifact.get("data")
            if isinstance(data, int | float):
                found.setdefault(UUID(artifact["flow_run_id"]), float(data))
        return found

    async def _read_end(self, run: Run, life: float) -> Ended:
        storage = await self._context.storage()
        raw = await storage.get_bytes(JobKeys(str(run.id)).report, _REPORT_BYTES)
        try:
            report = Report.model_validate_json(raw) if raw is not None else None
        except ValidationError:
            report = None
        # A report of an earlier end, before a retry, says nothing of this one.
        if report is None or report.status != run.state.type.lower():
            return Ended(None)
        if run.state.message is not None and report.message != run.state.message:
            return Ended(None)

        async def link(key: str | None) -> str | None:
            return None if key is None else await storage.presign(key, life)

        return Ended(
            report,
            output_url=await link(report.output_key),
            fallback_url=await link(report.fallback_key),
            preview_url=await link(report.preview_key),
        )
