"""Announces ends of jobs to their receivers that no job has announced itself.

A job that is cancelled before it runs, whose process dies, or that ends while the bucket is away,
cannot announce its end. The watch reads Prefect's list of ended runs, so that no end is missed.
Announcing twice is harmless, therefore any number of processes may watch at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from pydantic import ValidationError

from pro_video.core.job_names import JobKeys
from pro_video.core.progress import end_message
from pro_video.records import Findings, JobResult
from pro_video.webhooks.records import EventType
from tasks.connections.connections import connections
from tasks.run.recoveries import History
from tasks.webhooks.announce import (
    DEFAULT_DEPLOYMENT,
    RECORD_BYTES,
    TAG,
    UNREACHABLE,
    announce_event,
    end_data,
)

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from pro_video.s3.storage import Storage

logger = logging.getLogger("prefect.pro_video.webhooks")

_PAUSE = 20.0
# Ends older than this were looked at by every earlier round, or have lost their interest.
_WINDOW = timedelta(hours=24)
# The job's own announcement comes first; this only follows up.
_GRACE = timedelta(seconds=10)
# A crashed job is normally taken up again; one that stays crashed for this long has failed.
_CRASH_STAYS = timedelta(minutes=15)
_PAGE = 200
_MOST_PAGES = 50
_KNOWN = 50_000

_WORDS: dict[StateType, tuple[EventType, str]] = {
    StateType.COMPLETED: ("job.completed", "completed"),
    StateType.FAILED: ("job.failed", "failed"),
    StateType.CRASHED: ("job.failed", "failed"),
    StateType.CANCELLED: ("job.cancelled", "cancelled"),
}


async def watch_ends(*, pause: float = _PAUSE) -> None:
    """Announce missed ends, for ever; only a cancellation ends it.

    Args:
        pause: seconds between two looks.
    """
    watch = EndWatch()
    while True:
        try:
            async with get_client() as client:
                await watch.look(client, (await connections()).storage, datetime.now(UTC))
        except (*UNREACHABLE, ValueError) as error:
            # ValueError: a block is not there yet.
            logger.debug("Could not look for ended jobs: %s", type(error).__name__)
        await asyncio.sleep(pause)


class EndWatch:
    """Remembers which ends it has seen to, so that each costs its look once."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, None] = OrderedDict()

    async def look(self, client: PrefectClient, storage: Storage, now: datetime) -> int:
        """One look at the ended jobs; how many of them were announced or found announced.

        Raises:
            ProVideoError, httpx.HTTPError: a look or an announcement failed; the next look goes on.
        """
        seen = 0
        for page in range(_MOST_PAGES):
            runs = await _ended(client, now - _WINDOW, page)
            for run in runs:
                seen += await self._see_to(client, storage, run, now)
            if len(runs) < _PAGE:
                break
        return seen

    async def _see_to(
        self, client: PrefectClient, storage: Storage, run: FlowRun, now: datetime
    ) -> bool:
        state = run.state
        if state is None or state.type not in _WORDS or state.id in self._known:
            return False
        stays = _CRASH_STAYS if state.type is StateType.CRASHED else _GRACE
        if now - state.timestamp < stays:
            return False
        states = await client.read_flow_run_states(run.id)
        retries = History.of(each for each in states if each.timestamp <= state.timestamp).retries
        type_, _ = _WORDS[state.type]
        kept = await announce_event(
            client,
            storage,
            str(run.id),
            type_,
            await _data(storage, run, state),
            state.timestamp,
            round_=retries + 1,
            deployment_name=await _deployment_name(client, run),
        )
        self._known[state.id] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return kept is not None


async def _ended(client: PrefectClient, since: datetime, page: int) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[TAG]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_WORDS))),
            end_time=FlowRunFilterEndTime(after_=since),
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=_PAGE,
        offset=page * _PAGE,
    )


async def _data(storage: Storage, run: FlowRun, state: State[Any]) -> dict[str, Any]:
    """The message's data: from the job's report where it tells of this end, else from the
    state."""
    _, status = _WORDS[state.type]
    raw = await storage.get_bytes(JobKeys(str(run.id)).report, RECORD_BYTES * 16)
    try:
        report = None if raw is None else JobResult.model_validate_json(raw)
    except ValidationError:
        report = None
    if report is not None and report.status == status and report.message == state.message:
        return end_data(report)
    data: dict[str, Any] = {
        "status": status,
        "message": end_message(status, state.message),
        "output_key": report.output_key if report and report.status == status else None,
        **(report.findings if report and report.status == status else Findings()).model_dump(
            mode="json"
        ),
        "error": None,
    }
    if status == "failed":
        code = "crashed" if state.type is StateType.CRASHED else "failed"
        data["error"] = {"code": code, "message": data["message"]}
    return data


async def _deployment_name(client: PrefectClient, run: FlowRun) -> str:
    if run.deployment_id is None:
        return DEFAULT_DEPLOYMENT
    return (await client.read_deployment(run.deployment_id)).name
