"""Reschedules jobs that nobody works on: at once those of a process that has provably ended,
without waiting for heartbeats, and later those that were left half-started or crashed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
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
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Crashed, Failed, Pending

from deployments.worker.process_identity import this_process, token_in
from pro_video.core.errors import DiedTooOften
from tasks.connections.prefect_queries import read_history
from tasks.connections.run_history import DIED, NOT_BEGUN, TAKEN_UP, end_status
from tasks.reuse import OWNER_TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger("prefect.workers.pro_video")

_PAGE = 200
_PAGES = 100

LEFT_SECONDS: Final = 30.0
"""How long a run may stay crashed, or pending without being started, before it is rescheduled; also
the pause between two looks. The automation for crashed runs acts within seconds."""


def taken_here() -> State[Any]:
    """The pending state of a run that this process takes from the queue.

    It names the process, so that the holder of a run is known from the moment in which Prefect
    gives it away. The ``infrastructure_pid`` is written later, and may be that of an earlier
    holder until then.
    """
    pending: State[Any] = Pending(message=f"Taken by worker process {this_process().place}")
    return pending


async def take_up_lost_jobs(work_pool: str) -> int:
    """Reschedule the runs whose process has provably ended; their number.

    Each lost process counts as a crash in the run's history.
    """
    taken = 0
    try:
        async with get_client() as client:
            types = [StateType.RUNNING, StateType.PENDING]
            for run in [each async for each in _runs(client, work_pool, types)]:
                taken += _may_be_lost(run) and await _take_up_if_lost(client, run.id)
    except (httpx.HTTPError, ObjectNotFound) as error:
        # The automations find them too, only later.
        logger.warning("Could not read the jobs of lost processes: %s", type(error).__name__)
    if taken:
        logger.info("Rescheduled %d jobs of lost processes", taken)
    return taken


async def take_up_left_jobs(
    work_pool: str, is_here: Callable[[UUID], bool], *, seconds: float = LEFT_SECONDS
) -> None:
    """Reschedule runs that stay crashed or pending, again and again until cancelled.

    An automation reschedules crashed runs at once, but a server that restarts or is overloaded
    loses the event that triggers it, and refuses a start half-way. The state is not lost.

    Args:
        work_pool: of the runs.
        is_here: does this process start or run the run at the moment?
        seconds: pause between two looks, and the shortest time for which a run was left.
    """
    while True:
        try:
            async with get_client() as client:
                for run in await _left(client, work_pool, seconds):
                    if await _take_up_left(client, run, is_here):
                        logger.info("Rescheduled the job %s, which was left %s", run.id, run.state)
        except (httpx.HTTPError, ObjectNotFound) as error:
            # The server is away, or a run was deleted meanwhile: the next look is soon.
            logger.debug("Could not reschedule jobs that were left: %s", type(error).__name__)
        await asyncio.sleep(seconds)


async def _left(client: PrefectClient, work_pool: str, seconds: float) -> list[FlowRun]:
    found: list[FlowRun] = []
    async for run in _runs(client, work_pool, [StateType.CRASHED, StateType.PENDING]):
        assert run.state is not None
        age = datetime.now(UTC) - run.state.timestamp
        # A job of the HTTP API that is shown as failed stays so until its owner retries it.
        shown = any(tag.startswith(OWNER_TAG) for tag in run.tags)
        if age.total_seconds() > seconds and not (shown and end_status(run.state.type, age)):
            found.append(run)
    return found


async def _take_up_left(
    client: PrefectClient, run: FlowRun, is_here: Callable[[UUID], bool]
) -> bool:
    assert run.state is not None
    if run.state.is_crashed():
        return await _take_up(client, run.id)
    if _may_be_lost(run):
        return await _take_up_if_lost(client, run.id)
    if token_in(run.state.message) != this_process().token or is_here(run.id):
        return False
    # In this order: of a run that is not here, and after that still in the state that this process
    # gave it, nobody can have begun the work.
    now = (await client.read_flow_run(run.id)).state
    return now is not None and now.id == run.state.id and await _queue(client, run.id, NOT_BEGUN)


def _may_be_lost(run: FlowRun) -> bool:
    """By what a list of runs tells; a running one may have a holder that is not named yet."""
    assert run.state is not None
    if run.state.is_running() and not run.infrastructure_pid:
        return True
    return _names_dead(run.state.message if run.state.is_pending() else run.infrastructure_pid)


def _names_dead(text: str | None) -> bool:
    token = token_in(text)
    return token is not None and this_process().is_dead(token)


async def _take_up_if_lost(client: PrefectClient, flow_run_id: UUID) -> bool:
    # Read again: it may have ended, or another worker may have it.
    state = (await client.read_flow_run(flow_run_id)).state
    if state is not None and state.is_running():
        states = await client.read_flow_run_states(flow_run_id)
        pending = [each for each in states if each.is_pending()]
        state = max(pending, key=lambda each: each.timestamp, default=None)
    if state is None or not state.is_pending() or not _names_dead(state.message):
        return False
    # Not named Crashed: the automation for that name would reschedule the job again, perhaps when
    # it runs already.
    lost: State[Any] = Crashed(name="WorkerLost", message=DIED)
    answer = await client.set_flow_run_state(flow_run_id, lost)
    return answer.status is SetStateStatus.ACCEPT and await _take_up(client, flow_run_id)


async def _take_up(client: PrefectClient, flow_run_id: UUID) -> bool:
    # Read again: another worker may have rescheduled it.
    state = (await client.read_flow_run(flow_run_id)).state
    return state is not None and state.is_crashed() and await _queue(client, flow_run_id, TAKEN_UP)


async def _queue(client: PrefectClient, flow_run_id: UUID, message: str) -> bool:
    # Not by force: Prefect must refuse a run that has completed meanwhile.
    again: State[Any] = AwaitingRetry(message=message)
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


async def _runs(
    client: PrefectClient, work_pool: str, types: list[StateType]
) -> AsyncIterator[FlowRun]:
    for page in range(_PAGES):
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool])),
            sort=FlowRunSort.ID_DESC,
            limit=_PAGE,
            offset=page * _PAGE,
        )
        for run in runs:
            yield run
        if len(runs) < _PAGE:
            return
