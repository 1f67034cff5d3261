"""A new attempt is paid for only after the provider said that the last one failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pro_video.core.errors import DeadlineExceeded, JobFailed, JobFailedRetryable, ProviderRefused
from pro_video.core.job_names import attempt_reference
from pro_video.records import (
    Failure,
    Outcome,
    Prepared,
    StageResult,
    StoredFile,
    StoredResult,
    Submission,
)
from pro_video.s3.storage import Storage
from tasks.attempts.attempts import run_attempts
from tasks.attempts.step import PaidStep
from tasks.lip_sync import SyncSo
from tasks.run.closed_attempts import AttemptFailed, close_attempt
from tasks.run.job import Job

GOOD = "good"
PERMANENT = Failure.of(JobFailed("Broken.", code="broken"))
PASSING = Failure.of(JobFailedRetryable("Busy.", code="busy"))
REFUSED = Failure.of(ProviderRefused("No.", code="no"))


class Script(PaidStep):
    """A lip-sync whose attempts end as listed; each is bought once and remembered."""

    provider = SyncSo

    def __init__(
        self, job: Job, bucket: Storage, ends: Sequence[str | Failure | Exception]
    ) -> None:
        self.job = job
        self.bucket = bucket
        self.ends = ends
        self.bought: list[int] = []

    async def storage(self) -> Storage:
        return self.bucket

    async def submit(self, attempt: int) -> tuple[Prepared, Submission]:
        prepared = Prepared(
            attempt=attempt,
            reference=attempt_reference(self.job.job_id, self.name, attempt),
            body_key="unused",
            prepared_at=self.job.now(),
            expected_seconds=1,
        )
        if attempt not in self.bought:
            self.bought.append(attempt)
        end = self.ends[attempt - 1]
        refusal = end if end is REFUSED else None
        assert refusal is None or isinstance(refusal, Failure)
        return prepared, Submission(
            provider_job_id=None if refusal else f"p-{attempt}",
            submitted_at=self.job.now(),
            refusal=refusal,
        )

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome:
        assert self.job.state.awaited == f"Sync.so generation p-{prepared.attempt}"
        end = self.ends[prepared.attempt - 1]
        if isinstance(end, Exception):
            raise end
        failure = end if isinstance(end, Failure) else None
        return Outcome(finished_at=self.job.now(), failure=failure)

    async def store(
        self, prepared: Prepared, submission: Submission, outcome: Outcome
    ) -> StageResult:
        file = StoredFile(key="result.mp4", size=1, etag="e")
        stored = StoredResult(file=file, stored_at=self.job.now())
        return self._stage(prepared, submission, outcome, stored)


async def failing(script: Script) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        await run_attempts(script.job, script)
    return raised.value


def retried(job: Job) -> Job:
    """The job in its next run, after its end was seen."""
    retries = job.state.retries + 1
    return replace(job, state=replace(job.state, retries=retries, awaited=None))


async def test_a_good_attempt_is_the_only_one(job: Job, storage: Storage) -> None:
    script = Script(job, storage, [GOOD])
    found = await run_attempts(job, script)
    assert (found.attempt, found.provider_job_id) == (1, "p-1")
    assert found.reference == f"pv-{job.job_id}-lip-sync-1"
    assert script.bought == [1]
    assert job.state.awaited is None


async def test_a_failure_that_may_pass_is_tried_again_by_itself(job: Job, storage: Storage) -> None:
    script = Script(job, storage, [PASSING, GOOD])
    assert (await run_attempts(job, script)).attempt == 2
    assert script.bought == [1, 2]


async def test_the_tries_by_itself_are_bounded(job: Job, storage: Storage) -> None:
    script = Script(job, storage, [PASSING] * 9)
    failed = await failing(script)
    assert isinstance(failed.error, JobFailedRetryable)
    assert (failed.attempt, script.bought) == (2, [1, 2])


@pytest.mark.parametrize("end", [PERMANENT, REFUSED])
async def test_a_failure_for_good_ends_the_step(job: Job, storage: Storage, end: Failure) -> None:
    script = Script(job, storage, [end, GOOD])
    failed = await failing(script)
    assert failed.error.code == end.code
    assert script.bought == [1]


async def test_a_deadline_is_no_word_of_the_provider(job: Job, storage: Storage) -> None:
    script = Script(job, storage, [DeadlineExceeded("Late."), GOOD])
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            await run_attempts(script.job, script)
        script.job = retried(script.job)
    assert script.bought == [1]


async def test_a_users_retry_of_a_reported_failure_pays_for_another_attempt(
    job: Job, storage: Storage
) -> None:
    script = Script(job, storage, [PERMANENT, GOOD])
    failed = await failing(script)
    await close_attempt(job, storage, failed.step, failed.attempt)
    script.job = retried(job)
    assert (await run_attempts(script.job, script)).attempt == 2


async def test_a_failure_that_nobody_saw_is_reported_before_another_is_paid(
    job: Job, storage: Storage
) -> None:
    script = Script(job, storage, [PERMANENT, GOOD])
    failed = await failing(script)
    # The process dies after closing: no end was shown, and the job comes back by itself.
    await close_attempt(job, storage, failed.step, failed.attempt)
    again = await failing(script)
    assert again.attempt == 1
    assert script.bought == [1]
