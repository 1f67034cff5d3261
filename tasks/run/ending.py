"""Turns every outcome and exception of a job into the final state of its flow run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Scheduled

from pro_video.core.checkpoints import reach
from pro_video.core.errors import (
    FilesRemoved,
    OutcomeUnknown,
    OutputHeld,
    ProVideoError,
    RequestRefused,
    TransientError,
)
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.stopping import Stopped, StopReason
from pro_video.core.waiting import Parked
from pro_video.records import JobError, JobResult
from tasks.connections.connections import connections
from tasks.run.closed_attempts import AttemptFailed, close_attempt
from tasks.run.job import Job
from tasks.run.report import write_report
from tasks.webhooks.announce import announce

_READ_SECONDS: Final = 15.0


@dataclass(frozen=True)
class SubflowFailed(Exception):
    """A subflow of this job has failed; its error is the job's error."""

    error: JobError


class PrefectAway(Exception):
    """Prefect's API did not answer during a job; the job itself has not failed."""


class AlreadyCompleted(Abort):
    """Another process has completed this job; this one writes nothing about it.

    Two processes work on a job when one of them counted as lost and was not. Prefect's engine ends
    the run of this one without setting a state.

    Attributes:
        state: the run's state at the server.
    """

    def __init__(self, state: State[Any]) -> None:
        super().__init__("Another process has completed this job.")
        self.state = state


@dataclass
class Ending:
    """The final state of a flow run; set when the body of :func:`ending` is over."""

    state: State[JobResult] | None = None

    @property
    def final(self) -> State[JobResult]:
        if self.state is None:
            raise RuntimeError("the job has not ended")
        return self.state


# The begin of the message of a failed run, by the stage that it failed in.
_FAILED_IN: Final[dict[Stage | None, str]] = {
    None: "Not begun",
    Stage.UPLOADING: "Upload failed",
    Stage.LIP_SYNC_PROCESSING: "Lip-sync failed",
    Stage.LIP_SYNC_COMPLETED: "Lip-sync failed",
    Stage.INPAINTING_STARTING: "Text inpainting failed",
    Stage.INPAINTING_PROCESSING: "Text inpainting failed",
    Stage.COMPLETED: "Report failed",
}


@asynccontextmanager
async def ending(job: Job) -> AsyncIterator[Ending]:
    """Run a flow's steps, and set the final state for every way that they can end.

    A job that Prefect's API interrupts ends as crashed: it is taken up again, and counted, like one
    whose worker was lost. An unexpected exception is reported like every other failure.
    """
    end = Ending()
    try:
        yield end
    except Stopped as stopped:
        end.state = await _stopped(job, stopped.reason)
    except Parked as parked:
        end.state = await _parked(job, parked)
    except AttemptFailed as failed:
        end.state = await _failed(job, _error(job, failed.error))
        await _close(job, failed)
    except SubflowFailed as failed:
        end.state = await _failed(job, failed.error)
    except FilesRemoved as error:
        # The report of the earlier end stays: it names what is left of the job.
        end.state = Failed(message=_error(job, error).message)
    except ProVideoError as error:
        end.state = await _failed(job, _error(job, error))
    except (httpx.HTTPError, PrefectAway) as error:
        # Only Prefect's client raises these; errors of all others are ProVideoErrors.
        end.state = Crashed(message=f"Prefect's API did not answer: {_cause(error)}")
    except Exception as error:  # noqa: BLE001 - logged with its traceback, reported as the job's end
        end.state = await _failed(job, _unexpected(job, error))
    reach("ending.final")


def _cause(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return str(error) if isinstance(error, PrefectAway) else type(error).__name__


async def _close(job: Job, failed: AttemptFailed) -> None:
    try:
        storage = (await connections()).storage
        await close_attempt(job, storage, failed.step, failed.attempt, failed.copy)
    except ProVideoError as trouble:
        # The state must still tell why the job failed. The next retry reports the same failure once
        # more, and only the one after it pays for another attempt.
        get_run_logger().warning("Could not close the attempt: %s", trouble.message)


async def completed(job: Job, message: str) -> State[JobResult]:
    """The state of a job whose result is stored, judged and used.

    Raises:
        AlreadyCompleted: another process has completed the job.
    """
    await _leave_if_completed(job)
    result = job.state.result(job.job_id, status="completed", message=message, ended_at=job.now())
    if not job.is_subflow:
        await job.show(result.findings)
        await write_report(job, result)
        await job.reporter.stage(Stage.COMPLETED)
    result = await _with_links(result)
    await _announce(job, result)
    return Completed(message=message, data=result)


async def _failed(job: Job, error: JobError) -> State[JobResult]:
    result = await _reported(job, "failed", error.message, error)
    return Failed(message=error.message, data=result)


async def _stopped(job: Job, reason: StopReason) -> State[Any]:
    awaited = job.state.awaited
    if reason is StopReason.HANDOVER:
        rest = f"; {awaited} goes on" if awaited else ""
        return AwaitingRetry(message=f"Handed over by a worker that stops{rest}")
    message = _cancelled_message(job)
    return Cancelled(message=message, data=await _reported(job, "cancelled", message, None))


def _cancelled_message(job: Job) -> str:
    lead, awaited = f"Cancelled during: {job.reporter.stage_name}. ", job.state.awaited
    if awaited:
        return (
            f"{lead}{awaited} goes on at the provider and is billed{job.state.price_of(awaited)}; "
            "retry this run to fetch its result."
        )
    if unsure := job.state.unsure:
        return (
            f"{lead}A {unsure} may have been created and be billed; retry this run to look for it."
        )
    return f"{lead}No provider's job is running."


async def _parked(job: Job, parked: Parked) -> State[Any]:
    """The state of a job that waits outside of every process; its flow begins again when the wait
    is over, or at the latest time of the next poll."""
    stage = job.reporter.current
    assert stage is not None
    job.state.parked = parked
    until = datetime.fromtimestamp(parked.until, UTC)
    if job.is_subflow:
        # The job decides when both go on.
        until = job.now()
    else:
        await _keep_report(job)
    return Scheduled(name=stage.value.name, message=parked.message, scheduled_time=until)


async def _keep_report(job: Job) -> None:
    """Keep the report for a cancel, which no process of the job will notice."""
    message = _cancelled_message(job)
    result = job.state.result(job.job_id, status="cancelled", message=message, ended_at=job.now())
    try:
        storage = (await connections()).storage
        await storage.put_bytes(
            job.keys.if_cancelled,
            result.unsigned().model_dump_json().encode(),
            content_type="application/json",
        )
    except ProVideoError as trouble:
        # A cancel then ends with a state alone.
        get_run_logger().warning("Could not keep the report for a cancel: %s", trouble.message)


async def _reported(job: Job, status: str, message: str, error: JobError | None) -> JobResult:
    """The result of a job that did not complete, after its report as far as that is possible."""
    await _leave_if_completed(job)
    result = job.state.result(
        job.job_id, status=status, message=message, ended_at=job.now(), error=error
    )
    if not job.is_subflow:
        await job.show(result.findings)
    try:
        if not job.is_subflow:
            await write_report(job, result)
        result = await _with_links(result)
    except ProVideoError as trouble:
        # The bucket may be the cause of the failure; the state still tells it.
        get_run_logger().warning("Could not write the report: %s", trouble.message)
    await _announce(job, result)
    return result


async def _leave_if_completed(job: Job) -> None:
    """Raise when the job is complete, so that it gets no second end.

    Raises:
        AlreadyCompleted: it is.
    """
    if job.is_subflow:
        return
    try:
        async with asyncio.timeout(_READ_SECONDS), get_client() as client:
            state = (await client.read_flow_run(UUID(job.job_id))).state
    except (httpx.HTTPError, TimeoutError, ObjectNotFound) as error:
        # Without this read the end is still right, and only written a second time.
        get_run_logger().debug("Could not read the run's state: %s", type(error).__name__)
        return
    if state is not None and state.is_completed():
        await job.reporter.settle()
        raise AlreadyCompleted(state)


async def _announce(job: Job, result: JobResult) -> None:
    if not job.is_subflow:
        await announce(result)


def _error(job: Job, error: ProVideoError) -> JobError:
    lead = _FAILED_IN[job.reporter.current]
    if isinstance(error, RequestRefused):
        lead = "Request refused"
    elif isinstance(error, OutputHeld):
        lead = "Held"
    message = f"{lead}: {error.message}"
    if isinstance(error, OutcomeUnknown):
        message += (
            " The job may exist at the provider and be billed; retry this run to look for it again."
        )
    elif isinstance(error, TransientError):
        message += " Retry this run to go on from here."
    return JobError(
        stage=_stage_label(job),
        kind=type(error).__name__,
        message=message,
        code=error.code,
        provider=error.provider,
        request_id=error.request_id,
    )


def _stage_label(job: Job) -> str:
    return (job.reporter.current or Stage.UPLOADING).label


def _unexpected(job: Job, error: Exception) -> JobError:
    shown = job.log_unexpected(error)
    return JobError(
        stage=_stage_label(job),
        kind=type(error).__name__,
        message=f"Unexpected error: {shown}. Retry this run to go on from here; nothing that was "
        "bought is bought again. The log of the run shows the traceback.",
        code="unexpected",
    )


async def _with_links(result: JobResult) -> JobResult:
    """The result with signed links, which no report or state may hold."""
    storage = (await connections()).storage
    life = get_settings().link_hours * 3600
    update: dict[str, Any] = {}
    if result.output_key is not None:
        update["output_url"] = await storage.presign(result.output_key, life)
        update["output_url_expires_at"] = result.completed_at + timedelta(seconds=life)
    if result.fallback_key is not None:
        update["fallback_url"] = await storage.presign(result.fallback_key, life)
    if result.rejected_key is not None:
        update["rejected_url"] = await storage.presign(result.rejected_key, life)
    return result.model_copy(update=update)
