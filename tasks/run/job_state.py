"""The state of a running job: the facts from which its result, report and webhook are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from pro_video.core.job_warning import JobWarning
from pro_video.core.waiting import Parked
from pro_video.pricing.estimate import Estimate
from pro_video.records import (
    Acceptance,
    Findings,
    JobError,
    JobMetadata,
    JobResult,
    StageResult,
    StoredFile,
    UploadedFiles,
)

REQUEST: Final = "request"
LIP_SYNC: Final = "lip-sync"
INPAINTING: Final = "inpainting"

# Warnings of one stage: all findings of a job have to fit into a label of its run.
_MOST_WARNINGS = 30


@dataclass(slots=True)
class JobState:
    """The mutable part of a job; its steps write it in their order.

    Attributes:
        created_at: time of the request for the job.
        bucket: name of the bucket, for addresses.
        display_name: the user's name for the job.
        segments_count: segments of the request.
        files: the uploaded sources.
        stages: finished provider stages, judged or not.
        warnings: of the request and of each stage's result, by stage.
        shown: the findings as the run's label shows them.
        rejected_key: object of the paid result that stops the job.
        accepted: a person's decision to use a result as it is.
        preview: before/after picture.
        estimate: the price of the whole job, once its files are known.
        unsure: name of the provider's job whose request may be under way.
        awaited: the provider's job that goes on if this process stops now.
        retries: number of a user's retries of the job after an end.
        woken: this process goes on with a wait that was parked.
        parked: the wait that this process has left.
    """

    created_at: datetime
    bucket: str = ""
    display_name: str | None = None
    segments_count: int = 0
    files: UploadedFiles | None = None
    stages: dict[str, StageResult] = field(default_factory=dict)
    warnings: dict[str, tuple[JobWarning, ...]] = field(default_factory=dict)
    shown: Findings = field(default_factory=Findings)
    rejected_key: str | None = None
    accepted: Acceptance | None = None
    preview: StoredFile | None = None
    estimate: Estimate | None = None
    unsure: str | None = None
    awaited: str | None = None
    retries: int = 0
    woken: bool = False
    parked: Parked | None = None

    def address(self, key: str) -> str:
        """An object's ``s3://`` address."""
        return f"s3://{self.bucket}/{key}"

    def warn(self, stage: str, warnings: Sequence[JobWarning]) -> None:
        """Set the warnings of a stage, in place of earlier ones."""
        kept = tuple(dict.fromkeys(warnings))
        if len(kept) > _MOST_WARNINGS:
            more = len(kept) - _MOST_WARNINGS + 1
            rest = f"{more} more warnings are left out."
            kept = (*kept[:-more], JobWarning(code="more_warnings", message=rest, stage=stage))
        self.warnings[stage] = kept

    def all_warnings(self) -> tuple[JobWarning, ...]:
        """The warnings of all stages, in their order."""
        return tuple(
            warning
            for stage in (REQUEST, LIP_SYNC, INPAINTING)
            for warning in self.warnings.get(stage, ())
        )

    def metadata(self) -> JobMetadata:
        """The metadata for the job's report."""
        lip_sync, inpainting = self.stages.get(LIP_SYNC), self.stages.get(INPAINTING)
        files = self.files
        return JobMetadata(
            video_s3_url=self.address(files.video.key) if files else None,
            audio_url_mapping={
                f"audio-{number}": self.address(audio.key)
                for number, audio in enumerate(files.audios if files else (), start=1)
            },
            segments_count=self.segments_count,
            sync_generation_id=lip_sync.provider_job_id if lip_sync else None,
            sync_response=lip_sync.response if lip_sync else None,
            ghostcut_task_id=inpainting.provider_job_id if inpainting else None,
            ghostcut_video_url=self.address(inpainting.stored.key) if inpainting else None,
        )

    def timings(self, ended_at: datetime) -> dict[str, float]:
        """Seconds for each part of the job; the providers' times include their queues."""
        found = {}
        if self.files:
            found["uploading"] = _seconds(self.created_at, self.files.finished_at)
        for name, stage in self.stages.items():
            found[name] = _seconds(stage.submitted_at, stage.finished_at)
            found[f"{name} transfer"] = _seconds(stage.finished_at, stage.stored_at)
        found["total"] = _seconds(self.created_at, ended_at)
        return found

    def cost(self) -> Decimal | None:
        """Sum of the estimates of the finished stages in USD, None when nothing was bought."""
        costs = [stage.cost_usd for stage in self.stages.values() if stage.cost_usd is not None]
        return sum(costs, Decimal(0)) if costs else None

    def list_price(self, step: str) -> Decimal | None:
        """The upper end of a step's estimate in USD; None before the files are known."""
        stages = self.estimate.stages if self.estimate else ()
        return next((stage.high_usd for stage in stages if stage.stage == step), None)

    def price_of(self, provider_job: str) -> str:
        """The price of a provider's job in parentheses; empty when it was not estimated."""
        for stage in self.estimate.stages if self.estimate else ():
            if provider_job.startswith(stage.provider):
                return f" ({stage.text})"
        return ""

    def result(
        self,
        job_id: str,
        *,
        status: str,
        message: str,
        ended_at: datetime,
        error: JobError | None = None,
    ) -> JobResult:
        """The job's result, without links."""
        lip_sync, inpainting = self.stages.get(LIP_SYNC), self.stages.get(INPAINTING)
        last = inpainting or lip_sync
        completed = status == "completed"
        rejected = None if completed else self.rejected_key
        fallback = lip_sync.stored.key if lip_sync and not completed else None
        return JobResult.model_validate(
            {
                "job_id": job_id,
                "status": status,
                "message": message,
                "display_name": self.display_name,
                "output_key": last.stored.key if completed and last else None,
                "fallback_key": fallback if fallback != rejected else None,
                "rejected_key": rejected,
                "accepted_by": self.accepted.by if self.accepted else None,
                "accepted_at": self.accepted.at if self.accepted else None,
                "warnings": self.all_warnings(),
                "preview_key": self.preview.key if self.preview else None,
                "metadata": self.metadata(),
                "stages": self.stages,
                "timings": self.timings(ended_at),
                "estimate": self.estimate,
                "estimated_cost_usd": self.cost(),
                "error": error,
                "created_at": self.created_at,
                "completed_at": ended_at,
            }
        )


def _seconds(start: datetime, end: datetime) -> float:
    return round(max(0.0, (end - start).total_seconds()), 3)
