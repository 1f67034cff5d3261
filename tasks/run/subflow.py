"""Takes the result and the warnings of the text removal subflow over into the job."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from pro_video.core.stopping import Stopped, StopReason, current_stop
from pro_video.records import Acceptance, JobError, JobResult, StageResult
from tasks.run.ending import PrefectAway, SubflowFailed
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING


async def adopt_inpainting(job: Job, state: State[Any]) -> StageResult:
    """The finished text removal.

    Raises:
        PrefectAway: the subflow has crashed; the job crashes too and is taken up again.
        SubflowFailed: the text removal failed; the lip-sync result stays as the fallback.
        Parked: the subflow's wait goes on outside of this process.
        Stopped: the subflow was cancelled or handed over.
    """
    if state.is_cancelled() or state.is_cancelling():
        raise Stopped(current_stop().reason or StopReason.CANCELLED)
    if state.is_scheduled():
        if job.state.parked is not None:
            raise job.state.parked
        raise Stopped(current_stop().reason or StopReason.HANDOVER)
    if state.is_crashed():
        raise PrefectAway(state.message or "the subflow crashed")
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, JobResult):
        _take_over(job, result)
        stage = result.stages.get(INPAINTING)
        if state.is_completed() and stage is not None:
            job.state.stages[INPAINTING] = stage
            return stage
        if result.error is not None:
            raise SubflowFailed(result.error)
    # A state that Prefect itself has set.
    raise SubflowFailed(
        JobError(
            stage="inpainting processing",
            kind="SubflowFailed",
            message=f"Text inpainting failed: the subflow ended as {state.name}. Retry this run "
            "to go on from here.",
        )
    )


def _take_over(job: Job, result: JobResult) -> None:
    """Copy the subflow's findings; another process may have run it."""
    state = job.state
    state.warn(INPAINTING, [each for each in result.warnings if each.stage == INPAINTING])
    if result.rejected_key is not None:
        state.rejected_key = result.rejected_key
        state.stages |= result.stages
    if result.accepted_by is not None and result.accepted_at is not None:
        state.accepted = Acceptance(by=result.accepted_by, at=result.accepted_at)
