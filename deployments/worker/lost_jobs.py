"""Reschedules jobs whose worker was lost: at once those of a process of this machine, without
waiting for heartbeats, and later those that their automation missed."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Crashed, Failed

from pro_video.core.errors import DiedTooOften
from tasks.connections.prefect_queries import read_history
from tasks.connections.run_history import DIED, TAKEN_UP

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger("prefect.workers.pro_video")

_PAGE = 200
_PAGES = 100

# How long a run may stay crashed before it is rescheduled without its automation; also the pause
# between two requests.
_CRASHED_SECONDS = 30.0


def this_process() -> str:
    """The name of this process in the ``infrastructure_pid`` of its flow runs."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def take_up_lost_jobs(work_pool: str) -> int:
    """Reschedule the runs whose process on this machine is gone; their number.

    Called before this process has jobs of its own, so a run with this process' own id is lost too:
    in a restarted container ids repeat. Each lost process counts as a crash in the run's history.
    """
    taken = 0
    try:
        for flow_run_id in await _lost_jobs(work_pool):
            async with get_client() as client:
                state = (await client.read_flow_run(flow_run_id)).state
                if state is None or not (state.is_running() or state.is_pending()):
                    # It has ended, or another worker has rescheduled it.
                    continue
                # Not named Crashed: the automation for that name would reschedule the job again,
                # perhaps when it runs already.
                lost: State[Any] = Crashed(name="WorkerLost", message=DIED)
                answer = await client.set_flow_run_state(flow_run_id, lost)
                if answer.status is not SetStateStatus.ACCEPT:
                    # It has ended meanwhile.
                    continue
                taken += await _take_up(client, flow_run_id)
    except (httpx.HTTPError, ObjectNotFound) as error:
        # The automations find them too, only later.
        logger.warning("Could not read the jobs of lost processes: %s", type(error).__name__)
    if taken:
        logger.info("Rescheduled %d jobs of lost processes of this machine", taken)
    return taken


async def take_up_crashed_jobs(work_pool: str) -> None:
    """Reschedule crashed runs that stay crashed, again and again until cancelled.

    An automation does so at once, but a server that restarts or is overloaded loses the event that
    triggers it. The state is not lost.
    """
    while True:
        try:
            async with get_client() as client:
                for flow_run_id in await _left_crashed(client, work_pool):
                    if await _take_up(client, flow_run_id):
                        logger.info("Rescheduled the crashed job %s", flow_run_id)
        except (httpx.HTTPError, ObjectNotFound) as error:
            # The server is away, or a run was deleted meanwhile: the next request is soon.
            logger.debug("Could not reschedule crashed jobs: %s", type(error).__name__)
        await asyncio.sleep(_CRASHED_SECONDS)


async def _take_up(client: PrefectClient, flow_run_id: UUID) -> bool:
    # Read again: another worker may have rescheduled it. Not by force: Prefect must refuse a run
    # that has completed meanwhile.
    state = (await client.read_flow_run(flow_run_id)).state
    if state is None or not state.is_crashed():
        return False
    again: State[Any] = AwaitingRetry(message=TAKEN_UP)
    answer = await client.set_flow_run_state(flow_run_id, again)
    return answer.status is SetStateStatus.ACCEPT


async def fail_if_lost_too_often(client: PrefectClient, flow_run: FlowRun) -> bool:
    """Fail a run that crashed too often before its flow began; True when that was done.

    The flow has the same bound, but a run that cannot be submitted never reaches it. Prefect gives
    the worker a run without its history, so the states are read at each start.
    """
    try:
        history = await read_history(client, str(flow_run.id))
        try:
            history.check()
        except DiedTooOften as error:
            failed: State[Any] = Failed(message=error.message)
            await client.set_flow_run_state(flow_run.id, failed)
            logger.warning("Job %s ends: its worker was lost too often", flow_run.id)
            return True
    except httpx.HTTPError as error:
        logger.debug("Could not read a run's history: %s", type(error).__name__)
    return False


async def _left_crashed(client: PrefectClient, work_pool: str) -> list[UUID]:
    before = datetime.now(UTC) - timedelta(seconds=_CRASHED_SECONDS)
    runs = await _runs(client, work_pool, [StateType.CRASHED])
    return [run.id for run in runs if run.state is not None and run.state.timestamp < before]


async def _runs(
    client: PrefectClient, work_pool: str, types: list[StateType], page: int = 0
) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool])),
        limit=_PAGE,
        offset=page * _PAGE,
    )


async def _lost_jobs(work_pool: str) -> list[UUID]:
    here = f"{socket.gethostname()}:"
    found: list[UUID] = []
    async with get_client() as client:
        for page in range(_PAGES):
            runs = await _runs(client, work_pool, [StateType.RUNNING, StateType.PENDING], page)
            for run in runs:
                place = run.infrastructure_pid or ""
                if place.startswith(here) and not _is_alive(place.split(":")[1]):
                    found.append(run.id)
            if len(runs) < _PAGE:
                break
    return found


def _is_alive(pid: str) -> bool:
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
