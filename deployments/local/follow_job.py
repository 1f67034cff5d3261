"""Follows one job as a client of Prefect: the stage is the state's name, the percentage an
artifact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import get_client
from prefect.deployments import arun_deployment

from pro_video.records import JobResult
from tasks.connections.prefect_queries import percent_in, read_progress
from tasks.connections.run_history import end_status, parked_in

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_PAUSE = 0.4


@dataclass(frozen=True)
class JobStatus:
    """The job at one moment; ``entered``: for the first time in this stage."""

    name: str
    message: str
    percent: float
    entered: bool


@dataclass(frozen=True)
class JobEnd:
    """The job's final state and result."""

    state_name: str
    message: str
    result: JobResult


async def follow_job(
    parameters: dict[str, Any], show: Callable[[JobStatus], None], *, limit: float
) -> JobEnd:
    """Start a job through its deployment and read its status until it ends.

    Args:
        parameters: of ``pro-video/local``.
        show: called with each status.
        limit: most seconds.

    Raises:
        TimeoutError: it did not end in time.
        ValueError: it ended without a result.
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
                parked = parked_in(state) is not None
                running = (state.is_running() or parked) and state.message is not None
                # A crashed job is taken up again.
                ended = end_status(state.type, datetime.now(UTC) - state.timestamp) is not None
                entered = (running or ended) and state_name != last
                if entered:
                    last = state_name
                name = state_name if running or ended else "Waiting for the worker"
                show(JobStatus(name, state.message or "", percent, entered and running))
                if ended:
                    result = await state.aresult(raise_on_failure=False)
                    if not isinstance(result, JobResult):
                        raise ValueError(f"The run ended as {state_name}: {state.message}")
                    return JobEnd(state_name, state.message or "", result)
            if time.monotonic() > deadline:
                raise TimeoutError("the job did not end in time")
            await asyncio.sleep(_PAUSE)


async def read_percent(client: PrefectClient, run_id: UUID) -> float:
    """The job's percentage from its progress artifact, 0 when there is none yet."""
    found = await read_progress(client, run_id)
    return 0.0 if found is None else percent_in(found.data)
