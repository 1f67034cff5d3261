"""Announces the ends that jobs could not announce to their receivers themselves.

A job cannot announce its end when it is cancelled before it runs, when its process dies, or while
the bucket cannot be reached. The watch reads Prefect's list of ended runs. Announcing twice has no
effect, so that any number of processes may watch at the same time.
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
# The watch leaves older ends alone: earlier looks have covered them.
_WINDOW = timedelta(hours=24)
# The job itself announces first.
_GRACE = timedelta(seconds=10)
_PAGE = 200
_MOST_PAGES = 50
_KNOWN = 50_000


async def watch_ends(*, pause: float = _PAUSE) -> None:
    """Announce missed ends until cancelled.

    Args:
        pause: seconds between two looks.
    """
    watch = EndWatch()
    while True:
        try:
            async with get_client() as client:
                await watch.look(client, (await connections()).storage, datetime.now(UTC))
        except (*UNREACHABLE, ValueError) as error:
            # ValueError: a block is still missing.
            logger.debug("Could not look for ended jobs: %s", type(error).__name__)
        await asyncio.sleep(pause)


class EndWatch:
    """Remembers the ends that it has handled, so that each is looked up once."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, None] = OrderedDict()

    async def look(self, client: PrefectClient, storage: Storage, now: datetime) -> int:
        """Look once at the ended jobs; the number of those that are announced now.

        Raises:
            ProVideoError, httpx.HTTPError: a read or an announcement failed; the next look goes on.
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
                seen += await self._handle(client, storage, run, now)
            if len(runs) < _PAGE:
                break
        return seen

    async def _handle(
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
    """The data of the message: from the job's report of this end, or from the state when there is
    no such report."""
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
