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
from prefect.client.schemas.objects import FlowRun, State, StateType

from pro_video.core.job_names import JobKeys
from pro_video.core.progress import end_message
from pro_video.records import Findings, JobResult
from pro_video.webhooks.records import EventType
from tasks.connections.connections import connections
from tasks.connections.prefect_queries import read_ended_runs
from tasks.connections.run_history import END_TYPES, EndStatus, RunHistory, end_status
from tasks.webhooks.announce import (
    DEFAULT_DEPLOYMENT,
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
_PAGE = 200
_MOST_PAGES = 50
_KNOWN = 50_000


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
            runs = await read_ended_runs(
                client,
                tag=TAG,
                types=END_TYPES,
                since=now - _WINDOW,
                limit=_PAGE,
                offset=page * _PAGE,
            )
            for run in runs:
                seen += await self._see_to(client, storage, run, now)
            if len(runs) < _PAGE:
                break
        return seen

    async def _see_to(
        self, client: PrefectClient, storage: Storage, run: FlowRun, now: datetime
    ) -> bool:
        state = run.state
        if state is None or state.id in self._known:
            return False
        age = now - state.timestamp
        status = end_status(state.type, age)
        if status is None or age < _GRACE:
            return False
        states = await client.read_flow_run_states(run.id)
        history = RunHistory.of(each for each in states if each.timestamp <= state.timestamp)
        type_: EventType = f"job.{status}"  # type: ignore[assignment]
        kept = await announce_event(
            client,
            storage,
            str(run.id),
            type_,
            await _data(storage, run, state, status),
            state.timestamp,
            round_=history.retries + 1,
            deployment_name=await _deployment_name(client, run),
        )
        self._known[state.id] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return kept is not None


async def _data(
    storage: Storage, run: FlowRun, state: State[Any], status: EndStatus
) -> dict[str, Any]:
    """The message's data: from the job's report where it tells of this end, else from the
    state."""
    raw = await storage.get_bytes(JobKeys(str(run.id)).report)
    report = JobResult.of_end(raw, status, state.message)
    if report is not None:
        return end_data(report)
    data: dict[str, Any] = {
        "status": status,
        "message": end_message(status, state.message),
        "output_key": None,
        **Findings().model_dump(mode="json"),
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
