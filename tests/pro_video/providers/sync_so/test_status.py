"""Every status and code that the vendor documents has a meaning; the lists are made by hand."""

from __future__ import annotations

import pytest

from pro_video.core.errors import AccountBlocked, JobFailed, JobFailedRetryable, TerminalError
from pro_video.providers.job_status import JobStatus
from pro_video.providers.sync_so.models import Generation
from pro_video.providers.sync_so.status import (
    CODES,
    STATUSES,
    error_for,
    is_known,
    meaning_of,
    observe,
    status_of,
)


def words(text: str) -> list[str]:
    return text.split()


DOCUMENTED = {
    "PENDING": JobStatus.RUNNING,
    "PROCESSING": JobStatus.RUNNING,
    "COMPLETED": JobStatus.DONE,
    "FAILED": JobStatus.FAILED,
    "REJECTED": JobStatus.FAILED,
    "CANCELED": JobStatus.FAILED,
}

# The catalogue of GET /v2/errors as of 2026-08-25.
CATALOGUE = words(
    """
    generation_unsupported_model generation_pipeline_failed generation_unknown_error
    generation_input_validation_failed generation_infra_storage_error
    generation_infra_resource_exhausted generation_infra_service_unavailable
    generation_input_video_inaccessible generation_input_audio_inaccessible
    generation_input_image_inaccessible generation_input_video_invalid
    generation_input_audio_invalid generation_input_segments_invalid generation_input_trim_invalid
    generation_input_face_selection_invalid generation_input_resolution_unsupported
    generation_input_duration_greater_than_max_duration generation_model_duration_exceeded
    generation_plan_duration_exceeded dubbing_duration_exceeded free_tier_generations_exhausted
    plan_feature_unavailable account_payment_required account_on_hold voice_clone_limit_reached
    elevenlabs_quota_exceeded generation_input_asset_type_mismatch
    generation_input_too_many_visual generation_input_dub_audio_conflict concurrency_limit_reached
    rate_limit_exceeded generation_not_deletable_while_processing invalid_generation_id
    unsupported_generation_id_format generation_not_found generation_conflict
    generation_media_probe_timeout generation_media_probe_unavailable controller_timeout
    controller_unavailable controller_dependency_error internal_error usage_dependency_unavailable
    project_not_found asset_not_found asset_forbidden invalid_asset_id_format
    uploaded_file_not_found file_not_in_org_storage file_size_exceeds_plan_limit voice_not_found
    voice_sample_not_accessible voice_sample_type_unsupported voice_sample_upload_required
    voice_sample_extraction_failed voice_sample_source_too_large voice_sample_too_short
    voice_sample_invalid voice_name_conflict voice_clone_busy elevenlabs_api_key_invalid
    elevenlabs_service_unavailable
    """
)

OFF_CATALOGUE = words(
    """
    generation_media_metadata_missing generation_audio_length_exceeded
    generation_text_length_exceeded generation_audio_missing generation_video_missing
    generation_timeout generation_database_error generation_internal_auth
    generation_unhandled_error batch_file_too_large batch_too_many_requests
    batch_insufficient_records batch_invalid_jsonl batch_duplicate_request_id
    batch_invalid_endpoint batch_plan_required batch_concurrency_limit_reached
    cost_estimate_unavailable INVALID_IDEMPOTENCY_KEY IDEMPOTENCY_OUTCOME_UNKNOWN
    """
)

WORTH_AN_ATTEMPT = words(
    """
    generation_pipeline_failed generation_unknown_error generation_infra_storage_error
    generation_infra_resource_exhausted generation_infra_service_unavailable
    generation_input_video_inaccessible generation_input_audio_inaccessible
    generation_media_probe_timeout controller_timeout internal_error generation_timeout
    """
)

PERMANENT = words(
    """
    generation_unsupported_model generation_input_validation_failed generation_input_video_invalid
    generation_input_segments_invalid generation_input_face_selection_invalid
    generation_model_duration_exceeded generation_audio_length_exceeded
    """
)


def _ended(status: str, code: str | None = None, error: str | None = None) -> Generation:
    return Generation(id="gen-1", status=status, error=error, error_code=code)


def test_every_documented_status_has_its_outcome() -> None:
    assert STATUSES == DOCUMENTED
    assert {status: status_of(status) for status in DOCUMENTED} == DOCUMENTED


def test_the_catalogue_is_whole() -> None:
    assert len(CATALOGUE) == len(set(CATALOGUE)) == 62


@pytest.mark.parametrize("code", CATALOGUE + OFF_CATALOGUE)
def test_every_documented_code_has_a_meaning(code: str) -> None:
    meaning = meaning_of(code)
    assert meaning is not None
    assert meaning is meaning_of(code.upper())
    error = error_for(_ended("FAILED", code, "reason"))
    assert isinstance(error, TerminalError)
    assert error.code == code


def test_no_code_is_known_that_is_not_documented() -> None:
    documented = {code.lower() for code in CATALOGUE + OFF_CATALOGUE}
    extra = set(CODES) - documented
    # Names of an idempotency mismatch are not published.
    assert all(code.startswith("idempotency_") for code in extra)


@pytest.mark.parametrize("code", WORTH_AN_ATTEMPT)
def test_failures_that_may_pass_are_worth_an_attempt(code: str) -> None:
    assert type(error_for(_ended("FAILED", code))) is JobFailedRetryable


@pytest.mark.parametrize("code", PERMANENT)
@pytest.mark.parametrize("status", ["FAILED", "REJECTED"])
def test_permanent_failures_are_not(code: str, status: str) -> None:
    assert type(error_for(_ended(status, code))) is JobFailed


def test_an_account_without_money_is_blocked() -> None:
    assert type(error_for(_ended("FAILED", "account_on_hold"))) is AccountBlocked


@pytest.mark.parametrize(
    ("status", "kind"),
    [("FAILED", JobFailedRetryable), ("REJECTED", JobFailed), ("CANCELED", JobFailed)],
)
@pytest.mark.parametrize("code", [None, "something_new"])
def test_unknown_codes_are_worth_an_attempt_only_after_a_try(
    status: str, kind: type[JobFailed], code: str | None
) -> None:
    assert type(error_for(_ended(status, code))) is kind


def test_the_reason_is_the_vendors_without_links() -> None:
    error = error_for(_ended("FAILED", "x", "cannot get https://h/v.mp4?sig=c4n4ry"))
    assert str(error) == "cannot get https://h/v.mp4?***"
    assert (error.provider, error.request_id) == ("sync.so", "gen-1")
    assert str(error_for(_ended("REJECTED"))) == "no reason given (status REJECTED)"


@pytest.mark.parametrize("status", ["QUEUED", "", "DONE"])
def test_an_unknown_status_is_waited_on(status: str) -> None:
    assert status_of(status) is JobStatus.RUNNING
    assert not is_known(status)
    assert observe(_ended(status)).done is False


def test_looks() -> None:
    running = observe(Generation(id="g", status="PROCESSING", progress=0.4, retry_after=2))
    assert (running.done, running.progress, running.next_poll) == (False, 0.4, 2)
    done = observe(Generation(id="g", status="COMPLETED", output_url="https://o"))
    assert (done.done, done.progress) == (True, 1.0)
    with pytest.raises(JobFailed):
        observe(_ended("REJECTED", "generation_input_segments_invalid"))
