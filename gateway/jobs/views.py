"""The views of a job for clients, made from its run and its report."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.prefect_client.runs import RETRYABLE, SHOWING, Run
from gateway.status.status_reader import Ended, Snapshot
from pro_video.core.job_names import FileKind
from pro_video.core.job_warning import JobWarning
from pro_video.core.progress import Stage, end_message
from pro_video.pricing.estimate import Estimate

Status = Literal["processing", "completed", "failed", "cancelled"]

_STAGES = {stage.value.name: stage.label for stage in Stage}
# Fields that the report of a job has more fully than its run.
_REPORTED = (
    "warnings",
    "rejected_key",
    "fallback_key",
    "accepted_by",
    "accepted_at",
    "timings",
    "estimate",
    "estimated_cost_usd",
)
_EXAMPLE_ID = "0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a"


class View(BaseModel):
    """Base of the responses."""

    model_config = ConfigDict(frozen=True)


class ErrorView(View):
    """The reason of a job's failure."""

    code: str = Field(description="Stable name, or the provider's own code.")
    message: str = Field(description="The cause, and what to do next.")
    stage: str | None = Field(None, description="Where it happened.")
    provider: str | None = Field(None, description="sync.so or ghostcut, when one is involved.")
    request_id: str | None = Field(None, description="Request id for the provider's support.")


class JobSummary(View):
    """A job in a list."""

    job_id: str = Field(description="Id of the job; also of its flow run.", examples=[_EXAMPLE_ID])
    status: Status
    progress: int = Field(ge=0, le=100, description="0 to 100; never goes down.", examples=[75])
    message: str = Field(
        description="The current step, for people.", examples=["Text inpainting in progress..."]
    )
    stage: str | None = Field(
        None,
        description="Stable name of the stage: queued, uploading, lip-sync processing, lip-sync "
        "completed, inpainting starting, inpainting processing, completed, recovering, "
        "cancelling; null when the job failed or was cancelled.",
    )
    display_name: str | None = None
    created_at: datetime
    completed_at: datetime | None = Field(None, description="Time of the end, of any kind.")
    warnings: list[JobWarning] = Field(
        default_factory=list,
        description="Findings of rules and checks that do not stop the job: `code` for machines, "
        "`message` for people, where in seconds and in the picture, and how sure.",
    )
    rejected_key: str | None = Field(
        None, description="Object of the paid result that stopped the job: held or unusable."
    )
    fallback_key: str | None = Field(
        None, description="Object of the lip-sync result of a job that did not complete."
    )
    estimate: Estimate | None = Field(
        None, description="Price of the whole job, a range in USD; known before anything is paid."
    )
    status_url: str
    events_url: str
    cancel_url: str


class JobView(JobSummary):
    """A job in full."""

    output_url: str | None = Field(
        None,
        description="Link to the finished video. It works for some hours; ask again for a new one.",
    )
    fallback_url: str | None = Field(
        None, description="Link to the lip-sync result when only the text removal failed."
    )
    rejected_url: str | None = Field(None, description="Link to the rejected result.")
    accepted_by: str | None = Field(
        None, description="Owner of the token that accepted a rejected result as it is."
    )
    accepted_at: datetime | None = Field(None, description="Time of the acceptance.")
    preview_url: str | None = Field(None, description="Link to a before/after picture.")
    error: ErrorView | None = None
    sync_generation_id: str | None = Field(
        None, description="Sync.so's id of the lip-sync; null until Sync.so has taken it."
    )
    segments_count: int
    segments_data: list[Any] = Field(description="The segments as they were sent.")
    metadata: dict[str, Any] = Field(
        description="Addresses (s3://) and ids: video_s3_url, audio_url_mapping, segments_count, "
        "sync_generation_id, sync_response, ghostcut_task_id, ghostcut_video_url."
    )
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds per stage.")
    estimated_cost_usd: str | float | None = Field(
        None, description="List price of the stages that were bought, USD; no invoice."
    )
    files_removed_at: datetime | None = Field(
        None, description="Time at which the cleanup removed files of this job."
    )
    files_removed: list[FileKind] = Field(
        default_factory=list,
        description="Kinds of files that the cleanup removed; addresses of such files lead to "
        "nothing. Without its results a job has no links and no report any more.",
    )
    retry_url: str | None = Field(None, description="Set when the job can be retried.")
    accept_url: str | None = Field(
        None, description="Set when the rejected result can be used as it is."
    )


class JobCreated(View):
    """The response to a request for a job."""

    job_id: str = Field(examples=[_EXAMPLE_ID])
    sync_generation_id: str | None = Field(None, description="null until known.")
    segments_count: int = Field(examples=[2])
    status: Status = "processing"
    message: str = "Pro video job created"
    status_url: str = Field(
        examples=[f"/api/v1/video-editors/pro-job/{_EXAMPLE_ID}/status"],
        description="Relative to this API's address, like the other URLs.",
    )
    events_url: str = Field(examples=[f"/api/v1/jobs/{_EXAMPLE_ID}/events"])
    cancel_url: str = Field(examples=[f"/api/v1/jobs/{_EXAMPLE_ID}/cancel"])
    webhook_secret: str | None = Field(
        None, description="Secret that signs the messages to the receiver of the request."
    )


class JobList(View):
    """A page of jobs, the latest first."""

    jobs: list[JobSummary]
    next_cursor: str | None = Field(None, description="The cursor= of the next page.")


def urls(job_id: str) -> dict[str, str]:
    """The addresses of a job."""
    return {
        "status_url": f"/api/v1/video-editors/pro-job/{job_id}/status",
        "events_url": f"/api/v1/jobs/{job_id}/events",
        "cancel_url": f"/api/v1/jobs/{job_id}/cancel",
    }


def created_view(run: Run) -> JobCreated:
    """The response to a request for a job."""
    return JobCreated(
        job_id=str(run.id),
        sync_generation_id=run.facts.get("sync_generation_id"),
        segments_count=len(run.segments_data),
        **urls(str(run.id)),
    )


def status_of(run: Run) -> Status:
    """The status that the run's state means."""
    return run.end or "processing"


def summary(snapshot: Snapshot) -> JobSummary:
    """A job in a list."""
    return JobSummary.model_validate(_summary_fields(snapshot))


def job_view(snapshot: Snapshot, ended: Ended | None) -> JobView:
    """A job in full; ``ended`` is the report and links of one that has ended."""
    run = snapshot.run
    report = ended.report if ended else None
    metadata: dict[str, Any] = {"segments_count": len(run.segments_data)}
    metadata |= report.metadata.model_dump(mode="json") if report else {}
    # The report of a failed job lacks what it only began; its run has that.
    metadata |= {name: fact for name, fact in run.facts.items() if metadata.get(name) is None}
    fields: dict[str, Any] = _summary_fields(snapshot) | {
        "segments_count": len(run.segments_data),
        "segments_data": run.segments_data,
        "metadata": metadata,
        "sync_generation_id": metadata.get("sync_generation_id"),
        "error": _error(snapshot, ended),
    }
    if report is not None:
        fields |= {name: getattr(report, name) for name in _REPORTED}
    if run.cleaned is not None:
        fields |= {"files_removed_at": run.cleaned.at, "files_removed": run.cleaned.kinds}
        if "results" in run.cleaned.kinds:
            fields["message"] = f"{fields['message'].rstrip('.')}. {run.cleaned}."
    elif run.end in RETRYABLE:
        fields["retry_url"] = f"/api/v1/jobs/{run.id}/retry"
        if fields["rejected_key"] is not None:
            fields["accept_url"] = f"/api/v1/jobs/{run.id}/accept"
    if ended is not None:
        fields |= {
            "output_url": ended.output_url,
            "fallback_url": ended.fallback_url,
            "rejected_url": ended.rejected_url,
            "preview_url": ended.preview_url,
        }
    return JobView.model_validate(fields)


def _summary_fields(snapshot: Snapshot) -> dict[str, Any]:
    run, state = snapshot.run, snapshot.run.state
    status = status_of(run)
    stage, message = _stage_and_message(run, status, snapshot.percent)
    findings = run.findings
    unfinished = status in ("failed", "cancelled")
    return {
        "job_id": str(run.id),
        "status": status,
        "progress": 100 if status == "completed" else min(int(snapshot.percent), 99),
        "message": message,
        "stage": stage,
        "display_name": run.parameters.get("display_name") or None,
        "created_at": run.created,
        "completed_at": None if status == "processing" else run.end_time or state.timestamp,
        "warnings": findings.warnings,
        "estimate": findings.estimate,
        "rejected_key": findings.rejected_key if unfinished else None,
        "fallback_key": findings.fallback_key if unfinished else None,
        **urls(str(run.id)),
    }


def _stage_and_message(run: Run, status: Status, percent: float) -> tuple[str | None, str]:
    state = run.state
    if status != "processing":
        stage = Stage.COMPLETED.label if status == "completed" else None
        return stage, end_message(status, state.message)
    if state.type == "CANCELLING":
        return "cancelling", "Cancelling..."
    if state.type == "CRASHED":
        return "recovering", "The worker was lost; another one continues the job"
    if state.type in SHOWING and state.name in _STAGES:
        return _STAGES[state.name], state.message or state.name
    if state.type in ("PENDING", "RUNNING") and percent > 0:
        # It goes on where it was, after a wait or the loss of a worker.
        begun = [each for each in Stage if each.value.start <= percent]
        return begun[-1].label, begun[-1].value.message
    # A pending state's message names the worker's process.
    message = None if state.type == "PENDING" else state.message
    return "queued", message or "Waiting for a worker..."


def _error(snapshot: Snapshot, ended: Ended | None) -> ErrorView | None:
    run = snapshot.run
    if status_of(run) != "failed":
        return None
    found = ended.report.error if ended and ended.report else None
    if found is None:
        code = "crashed" if run.state.type == "CRASHED" else "failed"
        return ErrorView(code=code, message=end_message("failed", run.state.message))
    return ErrorView(
        code=found.code or found.kind or "failed",
        message=found.message,
        stage=found.stage or None,
        provider=found.provider,
        request_id=found.request_id,
    )
