"""Ends a parked job that was cancelled: no process of its own notices that."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from pro_video.core.errors import ProVideoError
from pro_video.core.job_names import BUCKET_LABEL, JobKeys
from pro_video.records import JobResult
from tasks.connections.connections import connections, stay_in
from tasks.connections.run_history import parked_in
from tasks.run.report import ARTIFACT_KEY, keep_report, report_markdown

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger("prefect.pro_video.report")


async def was_parked(client: PrefectClient, run: FlowRun) -> bool:
    """Was the run parked directly before it was cancelled?

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    states = await client.read_flow_run_states(run.id)
    before = [each for each in states if not (each.is_cancelling() or each.is_cancelled())]
    last = max(before, key=lambda state: state.timestamp, default=None)
    return last is not None and parked_in(last) is not None


async def end_cancelled(client: PrefectClient, run: FlowRun) -> None:
    """Write the report and the final state that the job's own process would have written.

    Its webhook is announced by the watch of ended runs. Doing so twice has no effect.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    result = await _report(run)
    if result is None and run.state is not None and run.state.is_cancelled():
        return
    ended: State[Any] = Cancelled(message=result.message if result else None)
    if result is not None:
        artifact = ArtifactCreate(
            key=ARTIFACT_KEY,
            type="markdown",
            data=report_markdown(result),
            description=result.message,
            flow_run_id=run.id,
        )
        await client.create_artifact(artifact)
    below = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    for subflow in await client.read_flow_runs(flow_run_filter=below):
        await client.set_flow_run_state(subflow.id, ended)
    await client.set_flow_run_state(run.id, ended)


async def _report(run: FlowRun) -> JobResult | None:
    """The report that was kept when the job was parked, now in its place; None without one."""
    place = run.labels.get(BUCKET_LABEL)
    if isinstance(place, str) and place:
        stay_in(place)
    try:
        storage = (await connections()).storage
        raw = await storage.get_bytes(JobKeys(str(run.id)).if_cancelled)
        if raw is None:
            return None
        kept, now = JobResult.model_validate_json(raw), datetime.now(UTC)
        total = round((now - kept.created_at).total_seconds(), 3)
        timings = {**kept.timings, "total": total}
        result = kept.model_copy(update={"completed_at": now, "timings": timings})
        await keep_report(storage, result)
    except (ProVideoError, ValueError, httpx.HTTPError) as error:
        logger.warning("Could not write the report of %s: %s", run.id, type(error).__name__)
        return None
    return result
