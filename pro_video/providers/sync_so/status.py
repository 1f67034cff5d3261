"""The meaning of Sync.so's statuses and error codes for a job.

Sources: https://sync.so/docs/api-reference (statuses), ``GET /v2/errors`` as of 2026-08-25 (the 62
codes of the catalogue), older documentation for the codes that left the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from pro_video.core.errors import (
    AccountBlocked,
    JobFailed,
    JobFailedRetryable,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    RequestConflict,
    ServiceUnavailable,
    SlotUnavailable,
)
from pro_video.core.redaction import redact
from pro_video.core.waiting import Observation
from pro_video.providers.job_status import JobStatus
from pro_video.providers.sync_so.models import PROVIDER, Generation

STATUSES: Final[Mapping[str, JobStatus]] = MappingProxyType(
    {
        "PENDING": JobStatus.RUNNING,
        "PROCESSING": JobStatus.RUNNING,
        "COMPLETED": JobStatus.DONE,
        "FAILED": JobStatus.FAILED,
        "REJECTED": JobStatus.FAILED,
        # Documented nowhere; other clients have met it.
        "CANCELED": JobStatus.FAILED,
    }
)


class Meaning(Enum):
    """The errors of a code: in the response to a call, and in a failed generation."""

    of_call: type[ProVideoError]
    """The error of a call with this code in its response."""
    of_job: type[ProVideoError]
    """The error of a generation that ended with this code."""

    def __init__(self, of_call: type[ProVideoError], of_job: type[ProVideoError]) -> None:
        self.of_call = of_call
        self.of_job = of_job

    WRONG_REQUEST = (ProviderRefused, JobFailed)
    """The same request is refused again."""
    FAILED_ONCE = (ProviderRefused, JobFailedRetryable)
    """A new attempt, with fresh links, may succeed."""
    VENDOR_TROUBLE = (ServiceUnavailable, JobFailedRetryable)
    """A failure of the vendor's machines; try again later."""
    ACCOUNT = (AccountBlocked, AccountBlocked)
    """Money or plan."""
    NO_SLOT = (SlotUnavailable, JobFailedRetryable)
    TOO_FAST = (RateLimited, JobFailedRetryable)
    OTHER_BODY = (RequestConflict, JobFailed)
    """Another request was sent under the same key."""
    UNKNOWN_OUTCOME = (OutcomeUnknown, JobFailed)
    """The vendor does not know whether it created the job: send again with the same key."""


def _rows(meaning: Meaning, codes: str) -> dict[str, Meaning]:
    return dict.fromkeys(codes.split(), meaning)


CODES: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        **_rows(
            Meaning.WRONG_REQUEST,
            """
            generation_unsupported_model generation_input_validation_failed
            generation_input_video_invalid generation_input_audio_invalid
            generation_input_segments_invalid generation_input_trim_invalid
            generation_input_face_selection_invalid generation_input_resolution_unsupported
            generation_input_duration_greater_than_max_duration generation_model_duration_exceeded
            generation_input_asset_type_mismatch generation_input_too_many_visual
            generation_input_dub_audio_conflict generation_not_deletable_while_processing
            invalid_generation_id unsupported_generation_id_format generation_not_found
            generation_conflict project_not_found asset_not_found asset_forbidden
            invalid_asset_id_format uploaded_file_not_found file_not_in_org_storage
            file_size_exceeds_plan_limit voice_not_found voice_sample_not_accessible
            voice_sample_type_unsupported voice_sample_upload_required
            voice_sample_extraction_failed voice_sample_source_too_large voice_sample_too_short
            voice_sample_invalid voice_name_conflict elevenlabs_api_key_invalid
            generation_audio_length_exceeded generation_text_length_exceeded
            generation_audio_missing generation_video_missing
            batch_file_too_large batch_too_many_requests batch_insufficient_records
            batch_invalid_jsonl batch_duplicate_request_id batch_invalid_endpoint
            cost_estimate_unavailable invalid_idempotency_key
            """,
        ),
        **_rows(
            Meaning.OTHER_BODY,
            """
            idempotency_conflict idempotency_mismatch idempotency_key_conflict
            idempotency_key_mismatch idempotency_key_reused
            """,
        ),
        **_rows(
            Meaning.FAILED_ONCE,
            """
            generation_pipeline_failed generation_unknown_error
            generation_input_video_inaccessible generation_input_audio_inaccessible
            generation_input_image_inaccessible generation_media_metadata_missing
            generation_unhandled_error
            """,
        ),
        **_rows(
            Meaning.VENDOR_TROUBLE,
            """
            generation_infra_storage_error generation_infra_resource_exhausted
            generation_infra_service_unavailable generation_media_probe_timeout
            generation_media_probe_unavailable controller_timeout controller_unavailable
            controller_dependency_error internal_error usage_dependency_unavailable
            voice_clone_busy elevenlabs_service_unavailable
            generation_timeout generation_database_error generation_internal_auth
            """,
        ),
        **_rows(
            Meaning.ACCOUNT,
            """
            generation_plan_duration_exceeded dubbing_duration_exceeded
            free_tier_generations_exhausted plan_feature_unavailable account_payment_required
            account_on_hold voice_clone_limit_reached elevenlabs_quota_exceeded
            batch_plan_required
            """,
        ),
        **_rows(Meaning.NO_SLOT, "concurrency_limit_reached batch_concurrency_limit_reached"),
        **_rows(Meaning.TOO_FAST, "rate_limit_exceeded"),
        **_rows(Meaning.UNKNOWN_OUTCOME, "idempotency_outcome_unknown"),
    }
)
"""Every code in lower case. The names of an idempotency mismatch are assumed; none is published."""


def status_of(status: str) -> JobStatus:
    """Running, done or failed.

    An unknown status counts as running: a paid job is not given up over a new word, and the wait
    has a deadline. :func:`is_known` tells it apart.
    """
    return STATUSES.get(status, JobStatus.RUNNING)


def is_known(status: str) -> bool:
    """Is it one of :data:`STATUSES`?"""
    return status in STATUSES


def meaning_of(code: str | None) -> Meaning | None:
    """The meaning of a code, in either case of letters; None for an unknown code or none.

    The vendor publishes a list of ``IDEMPOTENCY_…`` errors and says that a lost response does not
    allow another key. A code of that list which is not known here leaves the outcome unknown.
    """
    if code is None:
        return None
    name = code.strip().lower()
    unknown = Meaning.UNKNOWN_OUTCOME if name.startswith("idempotency_") else None
    return CODES.get(name, unknown)


def error_for(generation: Generation) -> ProVideoError:
    """The error of a generation that ended badly, with the vendor's reason.

    After an unlisted code a new attempt may succeed when the job FAILED (the caller bounds the
    attempts), and not when it was REJECTED or CANCELED: the same request is refused again.
    """
    meaning = meaning_of(generation.error_code)
    if meaning is not None:
        kind = meaning.of_job
    else:
        kind = JobFailedRetryable if generation.status == "FAILED" else JobFailed
    reason = redact(generation.error or "") or f"no reason given (status {generation.status})"
    return kind(
        reason,
        provider=PROVIDER,
        code=generation.error_code or generation.status,
        request_id=generation.id,
    )


def observe(generation: Generation) -> Observation[Generation]:
    """The generation as one observation of a wait.

    Raises:
        ProVideoError: it ended badly; see :func:`error_for`.
    """
    status = status_of(generation.status)
    if status is JobStatus.FAILED:
        raise error_for(generation)
    return Observation(
        done=status is JobStatus.DONE,
        value=generation,
        progress=1.0 if status is JobStatus.DONE else generation.progress,
        next_poll=generation.retry_after,
    )
