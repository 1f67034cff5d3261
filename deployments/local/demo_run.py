"""Follows one job as a client of Prefect: its state for the words, its artifact for the
percentage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import get_client
from prefect.deployments import arun_deployment

from pro_video.records import JobResult
from tasks.connections.prefect_queries import percent_in, read_progress

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_PAUSE = 0.4


@dataclass(frozen=True)
class Seen:
    """One look at the job; ``entered`` tells that its stage is a new one."""

    name: str
    message: str
    percent: float
    entered: bool


@dataclass(frozen=True)
class Ended:
    """The job's final state and result."""

    state_name: str
    message: str
    result: JobResult


async def follow_job(
    parameters: dict[str, Any], show: Callable[[Seen], None], *, limit: float
) -> Ended:
    """Start a job through its deployment and look at it until it ends.

    Args:
        parameters: of ``pro-video/local``.
        show: told every look.
        limit: longest time in seconds.

    Raises:
        TimeoutError: it did not end in time.
        ValueError: its run ended without a result of its own.
    """
    run = await arun_deployment("pro-video/local", parameters=parameters, timeout=0)
    deadline = time.monotonic() + limit
    last = ""
    async with get_client() as client:
        while True:
            run = await client.read_flow_run(run.id)
            state = run.state
            if state is not None:
                state_name = state.name or state.type.value
                percent = await read_percent(client, run.id)
                running = state.is_running() and state.message is not None
                entered = (running or state.is_final()) and state_name != last
                if entered:
                    last = state_name
                name = state_name if running or state.is_final() else "Waiting for the worker"
                show(Seen(name, state.message or "", percent, entered and running))
                if state.is_final():
                    result = await state.aresult(raise_on_failure=False)
                    if not isinstance(result, JobResult):
                        raise ValueError(f"The run ended as {state_name}: {state.message}")
                    return Ended(state_name, state.message or "", result)
            if time.monotonic() > deadline:
                raise TimeoutError("the job did not end in time")
            await asyncio.sleep(_PAUSE)


async def read_percent(client: PrefectClient, run_id: UUID) -> float:
    """The job's percentage from its progress artifact, 0 when there is none yet."""
    found = await read_progress(client, run_id)
    return 0.0 if found is None else percent_in(found.data)
