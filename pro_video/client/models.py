"""The API's answers. Fields that a newer API adds are ignored."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pro_video.core.job_warning import JobWarning

Status = Literal["processing", "completed", "failed", "cancelled"]


class Answer(BaseModel):
    """Base of the models."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StageEstimate(Answer):
    """The price of one paid stage, USD."""

    stage: str
    provider: str
    low_usd: Decimal
    high_usd: Decimal
    basis: str


class Price(Answer):
    """A range in USD; no invoice."""

    low_usd: Decimal
    high_usd: Decimal
    stages: tuple[StageEstimate, ...]

    @property
    def text(self) -> str:
        """The range for people, such as ``0.16 to 0.25 USD``."""
        low, high = (f"{value:.2f}" for value in (self.low_usd, self.high_usd))
        return f"{high} USD" if low == high else f"{low} to {high} USD"


class Estimate(Price):
    """The price of a request that was checked with its files.

    Attributes:
        video_seconds: length of the video.
        within_max_cost: whether a job with this limit would begin; None without a limit.
        warnings: those that the job would begin with.
    """

    video_seconds: float
    within_max_cost: bool | None
    warnings: tuple[JobWarning, ...]


class JobError(Answer):
    """The reason of a job's failure."""

    code: str
    message: str
    stage: str | None = None
    provider: str | None = None
    request_id: str | None = None


class JobSummary(Answer):
    """A job in a list.

    Attributes:
        progress: 0 to 100; never goes down.
        message: the current step, for people.
        stage: stable name; None when the job failed or was cancelled.
        warnings: findings that do not stop the job.
        rejected_key: object of the paid result that stopped the job.
        fallback_key: object of the lip-sync result of a job that did not complete.
        estimate: price of the whole job; None until its files are known.
    """

    job_id: str
    status: Status
    progress: int
    message: str
    stage: str | None = None
    display_name: str | None = None
    created_at: datetime
    completed_at: datetime | None = None
    warnings: tuple[JobWarning, ...] = ()
    rejected_key: str | None = None
    fallback_key: str | None = None
    estimate: Price | None = None
    status_url: str
    events_url: str
    cancel_url: str

    @property
    def is_doubtful(self) -> bool:
        """Has a check of a result found something that nobody has accepted?"""
        codes = {warning.code for warning in self.warnings}
        return "output_accepted" not in codes and any(code.startswith("output_") for code in codes)


class Job(JobSummary):
    """A job in full.

    Attributes:
        output_url: link to the finished video, for some hours; a later answer has a fresh one.
        fallback_url: link to the lip-sync result when only the text removal failed.
        rejected_url: link to a held or unusable result.
        preview_url: link to a picture before and after.
        segments_data: as they were sent.
        metadata: addresses and the providers' ids.
        timings: seconds for each stage.
        estimated_cost_usd: list price of what was bought.
        retry_url: set when the job can be retried.
        accept_url: set when the rejected result can be used as it is.
    """

    output_url: str | None = None
    fallback_url: str | None = None
    rejected_url: str | None = None
    preview_url: str | None = None
    accepted_by: str | None = None
    accepted_at: datetime | None = None
    error: JobError | None = None
    sync_generation_id: str | None = None
    segments_count: int
    segments_data: list[Any]
    metadata: dict[str, Any]
    timings: dict[str, float] = {}
    estimated_cost_usd: Decimal | None = None
    files_removed_at: datetime | None = None
    files_removed: list[str] = []
    retry_url: str | None = None
    accept_url: str | None = None


class JobCreated(Answer):
    """A job that was begun; ``webhook_secret`` signs the messages to its receiver."""

    job_id: str
    status: Status
    message: str
    segments_count: int
    sync_generation_id: str | None = None
    status_url: str
    events_url: str
    cancel_url: str
    webhook_secret: str | None = None


class JobPage(Answer):
    """A page of jobs, the latest first; ``next_cursor`` is None on the last one."""

    jobs: tuple[JobSummary, ...]
    next_cursor: str | None = None


class JobEvent(Answer):
    """A job at the time at which it entered a state."""

    job_id: str
    status: Status
    stage: str | None
    progress: int
    message: str
    warnings: tuple[JobWarning, ...]
    rejected_key: str | None
    fallback_key: str | None
    timestamp: datetime


class UploadPart(Answer):
    """A missing part: exactly ``size`` bytes go to ``url``, which is secret."""

    number: int
    size: int
    url: str


class Upload(Answer):
    """A direct upload; ``source`` names it in a request for a job."""

    upload_id: str
    source: str
    status: Literal["open", "complete"]
    size: int
    part_size: int
    expires_at: datetime
    parts: tuple[UploadPart, ...]
    complete_url: str
    abort_url: str
