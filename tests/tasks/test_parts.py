"""The small parts of a job: its state, report, callbacks, and when to try again."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Failed

from pro_video.core import errors
from pro_video.records import JobError, StageResult, StoredFile, UploadedFiles
from tasks.callbacks.wake import WakeSignals
from tasks.connections.records import worth_another_try
from tasks.run.job import Job, current_job
from tasks.run.job_state import INPAINTING, LIP_SYNC
from tasks.run.report import report_markdown


def stored(key: str) -> StoredFile:
    return StoredFile(key=key, size=3, etag="e")


def bought(job: Job, name: str, *, seconds: float, cost: str | None) -> StageResult:
    """A finished stage that took ``seconds`` at the provider and one more to bring home."""
    begun = job.state.created_at + timedelta(seconds=5)
    return StageResult(
        attempt=1,
        reference=f"pv-{name}",
        provider_job_id=f"id-of-{name}",
        response={"id": f"id-of-{name}"},
        stored=stored(f"{name}.mp4"),
        submitted_at=begun,
        finished_at=begun + timedelta(seconds=seconds),
        stored_at=begun + timedelta(seconds=seconds + 1),
        cost_usd=None if cost is None else Decimal(cost),
    )


def filled(job: Job, *names: str) -> Job:
    """The job with its files and the named stages done."""
    state = job.state
    state.files = UploadedFiles(
        video=stored("video.mp4"),
        audios=(stored("audio-1.wav"), stored("audio-2.wav")),
        finished_at=state.created_at + timedelta(seconds=4),
    )
    state.segments_count = 3
    costs = {LIP_SYNC: "0.25", INPAINTING: "0.10"}
    for name in names:
        state.stages[name] = bought(job, name, seconds=30, cost=costs[name])
    return job


def result_of(job: Job, status: str, error: JobError | None = None) -> Any:
    ended = job.state.created_at + timedelta(seconds=100)
    return job.state.result(
        job.job_id, status=status, message="A message", ended_at=ended, error=error
    )


def test_a_completed_job_gives_its_last_stage(job: Job) -> None:
    result = result_of(filled(job, LIP_SYNC, INPAINTING), "completed")
    assert (result.output_key, result.fallback_key) == ("inpainting.mp4", None)
    assert result.estimated_cost_usd == Decimal("0.35")
    assert result.metadata.model_dump() == {
        "video_s3_url": "s3://jobs-bucket/video.mp4",
        "audio_url_mapping": {
            "audio-1": "s3://jobs-bucket/audio-1.wav",
            "audio-2": "s3://jobs-bucket/audio-2.wav",
        },
        "segments_count": 3,
        "sync_generation_id": "id-of-lip-sync",
        "sync_response": {"id": "id-of-lip-sync"},
        "ghostcut_task_id": "id-of-inpainting",
        "ghostcut_video_url": "s3://jobs-bucket/inpainting.mp4",
    }
    assert result.timings == {
        "uploading": 4.0,
        "lip-sync": 30.0,
        "lip-sync transfer": 1.0,
        "inpainting": 30.0,
        "inpainting transfer": 1.0,
        "total": 100.0,
    }


def test_a_job_that_fails_after_the_lip_sync_names_the_fallback(job: Job) -> None:
    error = JobError(stage="inpainting processing", kind="JobFailed", message="A message")
    result = result_of(filled(job, LIP_SYNC), "failed", error)
    assert (result.output_key, result.fallback_key) == (None, "lip-sync.mp4")
    assert result.error == error


def test_a_job_that_bought_nothing_has_no_cost(job: Job) -> None:
    result = result_of(job, "failed")
    assert result.estimated_cost_usd is None
    assert (result.output_key, result.fallback_key) == (None, None)
    assert result.metadata.video_s3_url is None
    assert result.timings == {"total": 100.0}


def test_a_clock_that_was_set_back_makes_no_negative_times(job: Job) -> None:
    filled(job, LIP_SYNC)
    stage = job.state.stages[LIP_SYNC]
    earlier = stage.submitted_at - timedelta(seconds=50)
    job.state.stages[LIP_SYNC] = stage.model_copy(update={"finished_at": earlier})
    assert min(result_of(job, "completed").timings.values()) == 0.0


def test_the_report_for_people_keeps_its_table(job: Job) -> None:
    filled(job, LIP_SYNC)
    job.state.display_name = "A | b"
    error = JobError(
        stage="inpainting processing",
        kind="JobFailed",
        message="no",
        code="20",
        request_id="trace-1",
    )
    result = result_of(job, "failed", error).model_copy(
        update={"message": "Text inpainting failed: a | b\nsecond line"}
    )
    text = report_markdown(result)
    rows = [line for line in text.splitlines() if line.startswith("| ") and line != "| | |"]
    assert "| Message | Text inpainting failed: a \\| b second line |" in rows
    assert "| Fallback (lip-sync only) | lip-sync.mp4 |" in rows
    assert "| Provider's request id | trace-1 |" in rows
    assert "| Estimated cost | 0.25 USD |" in rows
    assert not [row for row in rows if "None" in row]


async def test_a_callback_wakes_only_the_waits_for_its_job() -> None:
    signals = WakeSignals()
    with signals.waiting("sync-so", "a") as mine, signals.waiting("sync-so", "b") as other:
        thread = threading.Thread(target=signals.wake, args=("sync-so", "a"))
        thread.start()
        async with asyncio.timeout(10):
            await mine.wait()
        thread.join()
        assert not other.is_set()
        assert signals.wake("ghostcut", "a") == 0
    assert signals.wake("sync-so", "a") == 0


async def test_every_wait_for_a_job_hears_its_callback() -> None:
    signals = WakeSignals()
    with signals.waiting("ghostcut", "7") as one:
        with signals.waiting("ghostcut", "7") as two:
            assert signals.wake("ghostcut", "7") == 2
            async with asyncio.timeout(10):
                await asyncio.gather(one.wait(), two.wait())
        assert signals.wake("ghostcut", "7") == 1


def every_error(kind: type[errors.ProVideoError]) -> list[type[errors.ProVideoError]]:
    found = [kind]
    for below in kind.__subclasses__():
        found += every_error(below)
    return found


@pytest.mark.parametrize(
    "kind",
    [each for each in every_error(errors.ProVideoError) if each.__module__ == errors.__name__],
)
def test_only_a_passing_error_is_tried_again(kind: type[errors.ProVideoError]) -> None:
    problem = errors.FieldProblem("video", "is missing")
    error = kind([problem]) if kind is errors.RequestRefused else kind("No.")
    again = worth_another_try(cast(Any, None), cast(Any, None), Failed(data=error))
    passing = issubclass(kind, errors.TransientError)
    assert again is (passing and kind is not errors.OutcomeUnknown)


def test_another_exception_is_not_tried_again() -> None:
    failed: State[Any] = Failed(data=ValueError("A mistake of ours"))
    assert not worth_another_try(cast(Any, None), cast(Any, None), failed)


def test_there_is_no_job_outside_of_a_flow() -> None:
    with pytest.raises(LookupError):
        current_job()


def test_a_subflow_belongs_to_its_callers_job(job: Job) -> None:
    assert not job.is_subflow
    assert replace(job, run_id="another").is_subflow
