"""Records of a job's steps, for the worker that goes on with it: small, typed, free of keys and
signed links.

Any worker can take a job up from these records. The one thing kept apart is the exact body of a
provider request, because it holds signed links: it is an object of its own in the bucket.

The import path of this module, its class names and their fields are a data format: Prefect stores
a record with the path of its class, and a later version of the project imports that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pro_video.core import errors
from pro_video.core.job_names import AWAITED_LABEL, CLEANED_LABEL, FINDINGS_LABEL, FileKind
from pro_video.core.job_warning import JobWarning
from pro_video.judging.verdict import Judgement, Verdict
from pro_video.media.info import MediaInfo
from pro_video.pricing.estimate import Estimate
from pro_video.s3.objects import StoredObject


class Record(BaseModel):
    """Base of the records: immutable, tolerant of fields that a newer version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredFile(Record):
    """A whole object in the bucket."""

    key: str
    size: int
    etag: str

    @classmethod
    def of(cls, found: StoredObject) -> StoredFile:
        return cls(key=found.key, size=found.size, etag=found.etag)


class UploadedFiles(Record):
    """The job's own copies of its sources.

    Attributes:
        video: the video.
        audios: in the order of :attr:`pro_video.request.check.JobRequest.audios`.
        finished_at: end of the upload.
    """

    video: StoredFile
    audios: tuple[StoredFile, ...] = ()
    finished_at: datetime


class ProbedFiles(Record):
    """The probes of the uploaded files, in the order of :class:`UploadedFiles`.

    Attributes:
        video: the video.
        audios: the audios as they are sent.
        sent: their objects; empty in older records, whose audios were sent as they were uploaded.
    """

    video: MediaInfo
    audios: tuple[MediaInfo, ...] = ()
    sent: tuple[StoredFile, ...] = ()


class Prepared(Record):
    """One attempt's request, persisted before anything is sent.

    Attributes:
        attempt: number of the paid attempt, from 1.
        reference: the attempt's name at the provider.
        body_key: object with the exact bytes to send.
        prepared_at: time of the preparation.
        expected_seconds: estimate of the provider's time.
        cost_usd: estimate of the price in USD.
    """

    attempt: int
    reference: str
    body_key: str
    prepared_at: datetime
    expected_seconds: float
    cost_usd: Decimal | None = None


class Failure(Record):
    """An error of a provider, kept so that another process can raise it again."""

    kind: str
    message: str
    code: str | None = None
    provider: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, error: errors.ProVideoError) -> Failure:
        return cls(
            kind=type(error).__name__,
            message=error.message,
            code=error.code,
            provider=error.provider,
            request_id=error.request_id,
        )

    @property
    def retryable(self) -> bool:
        """Does the provider's code say that a new attempt may succeed?"""
        return self.kind == errors.JobFailedRetryable.__name__

    def error(self) -> errors.TerminalError:
        """The error as it was; of an unknown kind a plain ``JobFailed``."""
        cls = getattr(errors, self.kind, errors.JobFailed)
        if not (isinstance(cls, type) and issubclass(cls, errors.TerminalError)):
            cls = errors.JobFailed
        return cls(self.message, code=self.code, provider=self.provider, request_id=self.request_id)


class Submission(Record):
    """The provider's answer to an attempt: accepted with its job's id, or refused.

    Attributes:
        provider_job_id: generation or work id; None when refused.
        submitted_at: time of the answer.
        adopted: the job was found by its reference, after its answer had been lost.
        response: the answer without signed links, for the job's metadata.
        refusal: the reason why nothing was created.
    """

    provider_job_id: str | None = None
    submitted_at: datetime
    adopted: bool = False
    response: dict[str, Any] = Field(default_factory=dict)
    refusal: Failure | None = None

    @property
    def job_id(self) -> str:
        """Id of the accepted job.

        Raises:
            ValueError: the attempt was refused.
        """
        if self.provider_job_id is None:
            raise ValueError("a refused attempt has no job at the provider")
        return self.provider_job_id


class Outcome(Record):
    """The end of a provider's job."""

    finished_at: datetime
    failure: Failure | None = None


class StageResult(Record):
    """A finished provider stage: the attempt that succeeded, and its result.

    ``reused_from`` is the job that bought the result, when that is another one; then ``attempt``
    is 0.
    """

    attempt: int
    reference: str
    provider_job_id: str
    response: dict[str, Any] = Field(default_factory=dict)
    stored: StoredFile
    submitted_at: datetime
    finished_at: datetime
    stored_at: datetime
    cost_usd: Decimal | None = None
    reused_from: str | None = None


class StoredResult(Record):
    """A provider's result in the bucket."""

    file: StoredFile
    stored_at: datetime


class Verified(Record):
    """The judgement of the checks on a result.

    Attributes:
        judgement: the verdict; good in records from before there were verdicts.
        info: the probe of the file; None when it could not be read.
        preview: before/after picture, when one was made.
    """

    judgement: Judgement = Judgement(verdict=Verdict.GOOD)
    info: MediaInfo | None = None
    preview: StoredFile | None = None


class Acceptance(Record):
    """A person's decision to use a result as it is, with its time."""

    by: str
    at: datetime


class Findings(Record):
    """Warnings and rejected files of a job, before and after its end.

    Attributes:
        warnings: warnings of rules and checks, in the order of the stages.
        rejected_key: object of a paid result that stopped the job.
        fallback_key: object of the lip-sync result of a job that did not complete.
        estimate: the price of the whole job, once its files are known.
    """

    warnings: tuple[JobWarning, ...] = ()
    rejected_key: str | None = None
    fallback_key: str | None = None
    estimate: Estimate | None = None

    @classmethod
    def of(cls, labels: Mapping[str, Any]) -> Findings:
        """The findings among the labels of a job's flow run; none when they cannot be read."""
        try:
            return cls.model_validate_json(str(labels.get(FINDINGS_LABEL, "{}")))
        except ValidationError:
            return cls()


class Cleaned(Record):
    """The removal of a job's files; written before the first of them goes.

    Attributes:
        at: time of the last removal.
        kinds: the kinds of files that were removed.
    """

    at: datetime
    kinds: tuple[FileKind, ...]

    @classmethod
    def of(cls, labels: Mapping[str, Any]) -> Cleaned | None:
        """The removal that the labels of a job's flow run tell of; None when there was none."""
        try:
            return cls.model_validate_json(str(labels.get(CLEANED_LABEL, "")))
        except ValidationError:
            return None

    def __str__(self) -> str:
        kinds = ", ".join(self.kinds)
        return f"The cleanup of {self.at:%Y-%m-%d} removed files of this job ({kinds})"

    @property
    def refusal(self) -> str:
        """The reason for which the job does not go on."""
        return f"{self}. It cannot go on; start a new job, which buys anew."


class Awaited(Record):
    """The provider's job that a job waits for.

    Attributes:
        stage: label of the stage that waits.
        provider: the provider's name in the addresses of its callbacks.
        job_id: the provider's id of its job.
        since: time of its acceptance.
        expected_seconds: usual length of such a job.
    """

    stage: str
    provider: str
    job_id: str
    since: datetime
    expected_seconds: float

    @classmethod
    def of(cls, labels: Mapping[str, Any]) -> Awaited | None:
        """The one among the labels of a job's flow run; None when it cannot be read."""
        try:
            return cls.model_validate_json(str(labels.get(AWAITED_LABEL, "")))
        except ValidationError:
            return None


class JobError(Record):
    """The reason of a job's failure."""

    stage: str
    kind: str
    message: str
    code: str | None = None
    provider: str | None = None
    request_id: str | None = None


class JobMetadata(Record):
    """The metadata in a job's report; URLs are ``s3://`` addresses, which carry no signature."""

    video_s3_url: str | None = None
    audio_url_mapping: dict[str, str] = Field(default_factory=dict)
    segments_count: int = 0
    sync_generation_id: str | None = None
    sync_response: dict[str, Any] | None = None
    ghostcut_task_id: str | None = None
    ghostcut_video_url: str | None = None


class JobResult(Record):
    """The result of a job's flow run, completed or failed.

    Attributes:
        job_id: id of the flow run.
        status: end of the job.
        message: message of the run's final state.
        output_key: object of the result; None unless completed.
        output_url: link to it that works without a key until ``output_url_expires_at``.
        fallback_key: the lip-sync result of a job that did not complete, unless it is the rejected
            one.
        fallback_url: link to it.
        rejected_key: the paid result that stopped the job, because it is held or unusable.
        rejected_url: link to it.
        accepted_by, accepted_at: person and time of a decision to use a rejected result as it is.
        warnings: warnings of rules and checks, in the order of the stages.
        preview_key: before/after picture.
        metadata: as in the job's ``job.json``.
        stages: the provider stages that were finished, by name (``lip-sync``, ``inpainting``).
        timings: seconds per stage, queues of the providers included.
        estimate: the price of the whole job before it was bought.
        estimated_cost_usd: sum of the list prices of the bought stages in USD; no invoice.
        error: reason of the failure.
    """

    job_id: str
    status: Literal["completed", "failed", "cancelled"]
    message: str
    display_name: str | None = None
    output_key: str | None = None
    output_url: str | None = None
    output_url_expires_at: datetime | None = None
    fallback_key: str | None = None
    fallback_url: str | None = None
    rejected_key: str | None = None
    rejected_url: str | None = None
    accepted_by: str | None = None
    accepted_at: datetime | None = None
    warnings: tuple[JobWarning, ...] = ()
    preview_key: str | None = None
    metadata: JobMetadata = JobMetadata()
    stages: dict[str, StageResult] = Field(default_factory=dict)
    timings: dict[str, float] = Field(default_factory=dict)
    estimate: Estimate | None = None
    estimated_cost_usd: Decimal | None = None
    error: JobError | None = None
    created_at: datetime
    completed_at: datetime

    @classmethod
    def of_end(cls, report: bytes | None, status: str, message: str | None) -> JobResult | None:
        """The result in a job's ``job.json``; None when it does not tell of this end.

        An earlier end, before a retry, leaves a report too.

        Args:
            report: content of the object.
            status: how the job ended.
            message: of the run's state.
        """
        try:
            found = None if report is None else cls.model_validate_json(report)
        except ValidationError:
            return None
        if found is None or found.status != status or message not in (None, found.message):
            return None
        return found

    @property
    def findings(self) -> Findings:
        """The findings of the job."""
        return Findings(
            warnings=self.warnings,
            rejected_key=self.rejected_key,
            fallback_key=self.fallback_key,
            estimate=self.estimate,
        )

    def unsigned(self) -> JobResult:
        """The same without the signed links; the object keys remain."""
        links = ("output_url", "output_url_expires_at", "fallback_url", "rejected_url")
        return self.model_copy(update=dict.fromkeys(links))
