"""The four promises of a provider step, and when a new paid attempt may begin.

prepare keeps the exact request before it is sent, submit sends it, wait follows the provider's
job, store copies the result into the bucket. Each leaves a record, and a run that begins again
goes on after the last record. A new attempt begins only after the provider itself said that
the last one failed: by itself when the provider's code marks the failure as one that may pass,
else when a user retries the failed run.
"""

from __future__ import annotations

from typing import Protocol

from pro_video.core.checkpoints import reach
from pro_video.core.errors import TerminalError
from pro_video.core.job_names import MOST_ATTEMPTS
from pro_video.core.settings import get_settings
from pro_video.records import Outcome, Prepared, StageResult, StoredResult, Submission
from pro_video.s3.storage import Storage
from tasks.run.job import Job

_LARGEST_MARK = 100


class ProviderStep(Protocol):
    """One provider's four tasks for one job; ``attempt`` counts from 1."""

    @property
    def name(self) -> str:
        """Stable name in record keys and references: ``lip-sync`` or ``inpainting``."""
        ...

    @property
    def provider_job(self) -> str:
        """The name of this provider's jobs in texts: ``Sync.so generation``."""
        ...

    async def storage(self) -> Storage:
        """The bucket that keeps the records."""
        ...

    async def prepare(self, attempt: int) -> Prepared: ...

    async def submit(self, prepared: Prepared) -> Submission: ...

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome: ...

    async def store(self, prepared: Prepared, submission: Submission) -> StoredResult: ...


async def run_attempts(job: Job, step: ProviderStep) -> StageResult:
    """Get one result from a provider, paying at most once for it.

    Raises:
        TerminalError: the provider refused or failed, or a wait reached its deadline.
        TransientError: storage or provider stayed out of reach; a retry of the run goes on here.
        Stopped: the job was cancelled or is handed over.
    """
    storage = await step.storage()
    attempt = 1
    by_itself = 1
    while True:
        prepared = await step.prepare(attempt)
        job.turn.release()
        job.ledger.unsure = step.provider_job
        submission = await step.submit(prepared)
        job.ledger.unsure = None
        failure = submission.refusal
        if failure is None:
            job.ledger.awaited = f"{step.provider_job} {submission.provider_job_id}"
            outcome = await step.wait(prepared, submission)
            job.ledger.awaited = None
            await job.turn.take()
            failure = outcome.failure
            if failure is None:
                stored = await step.store(prepared, submission)
                return _result(prepared, submission, outcome, stored)
        if attempt >= MOST_ATTEMPTS:
            raise failure.error()
        if await was_reported(storage, job, step.name, attempt):
            # An earlier run of this job ended with this failure; a user asked for another try.
            by_itself = 1
        elif failure.retryable and by_itself < get_settings().max_attempts:
            by_itself += 1
        else:
            raise AttemptFailed(failure.error(), step.name, attempt)
        attempt += 1


class AttemptFailed(Exception):
    """The last attempt failed for good, or its result is not used; ``error`` says why. Its report
    closes the attempt, or this copy of its result."""

    def __init__(self, error: TerminalError, step: str, attempt: int, copy: int = 1) -> None:
        super().__init__(error.message)
        self.error = error
        self.step = step
        self.attempt = attempt
        self.copy = copy


async def close_attempt(job: Job, storage: Storage, step: str, attempt: int, copy: int = 1) -> None:
    """Remember how often the job was retried when the attempt failed, so that one more retry may
    pay for another attempt; or, of an attempt that succeeded, when the result was not used."""
    reach("attempt.closing", step)
    await storage.put_bytes(
        _reported_key(job, step, attempt, copy),
        str(job.ledger.retries).encode(),
        content_type="text/plain",
        if_absent=True,
    )
    reach("attempt.closed", step)


async def was_reported(storage: Storage, job: Job, step: str, attempt: int, copy: int = 1) -> bool:
    """Has a user retried the job since the attempt, or the copy of its result, was closed?

    A process that dies between the closing and the final state is taken up again by itself. That
    is no user's request to pay, nor to use a result.
    """
    closed = await storage.get_bytes(_reported_key(job, step, attempt, copy), _LARGEST_MARK)
    return closed is not None and int(closed) < job.ledger.retries


def _reported_key(job: Job, step: str, attempt: int, copy: int) -> str:
    return job.keys.record(f"{step}-{attempt}-{copied('reported', copy)}")


def copied(name: str, copy: int) -> str:
    """The name of a record, or the key of an object, that is of one copy of a result.

    >>> copied("stored", 1), copied("stored", 2), copied("result.mp4", 2)
    ('stored', 'stored-2', 'result-2.mp4')
    """
    stem, dot, extension = name.partition(".")
    return name if copy == 1 else f"{stem}-{copy}{dot}{extension}"


def _result(
    prepared: Prepared, submission: Submission, outcome: Outcome, stored: StoredResult
) -> StageResult:
    if submission.provider_job_id is None:
        raise ValueError("a finished attempt has a provider's job")
    return StageResult(
        attempt=prepared.attempt,
        reference=prepared.reference,
        provider_job_id=submission.provider_job_id,
        response=submission.response,
        stored=stored.file,
        submitted_at=submission.submitted_at,
        finished_at=outcome.finished_at,
        stored_at=stored.stored_at,
        cost_usd=prepared.cost_usd,
    )
