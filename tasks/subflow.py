"""What a job takes over from its text removal subflow."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from pro_video.records import JobError, JobResult, StageResult
from pro_video.stopping import Stopped, StopReason, current_stop
from tasks.ending import PrefectAway, SubflowFailed
from tasks.job import Job
from tasks.ledger import INPAINTING


async def adopt_inpainting(job: Job, state: State[Any]) -> StageResult:
    """The finished text removal; its failure and its stop become the job's.

    Raises:
        PrefectAway: the subflow ended as crashed; so does the job, which is taken up again.
        SubflowFailed: the text removal failed; the lip-sync result stays as the fallback.
        Stopped: the subflow was cancelled or handed over.
    """
    if state.is_cancelled() or state.is_cancelling():
        raise Stopped(current_stop().reason or StopReason.CANCELLED)
    if state.is_scheduled():
        raise Stopped(current_stop().reason or StopReason.HANDOVER)
    if state.is_crashed():
        raise PrefectAway(state.message or "the subflow crashed")
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, JobResult):
        stage = result.stages.get(INPAINTING)
        if state.is_completed() and stage is not None:
            job.ledger.stages[INPAINTING] = stage
            return stage
        if result.error is not None:
            raise SubflowFailed(result.error)
    # The subflow ended in a way of Prefect's own; its state says which.
    raise SubflowFailed(
        JobError(
            stage="inpainting processing",
            kind="SubflowFailed",
            message=f"Text inpainting failed: the subflow ended as {state.name}. Retry this run "
            "to go on from here.",
        )
    )
