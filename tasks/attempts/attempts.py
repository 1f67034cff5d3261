"""The paid attempts of a step.

An attempt has three tasks: submit keeps the exact request and then sends it, wait follows the
provider's job, store copies the result into the bucket and judges it. Each part leaves a record,
and a run that begins again goes on after the last record.

A new attempt begins only after the provider itself reported a failure: by itself when the
provider's code marks the failure as transient, otherwise when a user retries the failed run.
"""

from __future__ import annotations

from pro_video.core.job_names import MOST_ATTEMPTS
from pro_video.core.settings import get_settings
from pro_video.records import StageResult
from tasks.attempts.step import PaidStep
from tasks.run.closed_attempts import AttemptFailed, was_reported
from tasks.run.job import Job


async def run_attempts(job: Job, step: PaidStep) -> StageResult:
    """Get one result from a provider and pay for it at most once.

    Raises:
        TerminalError: the provider refused or failed, or a wait reached its deadline.
        TransientError: storage or provider stayed unreachable; a retry of the run goes on here.
        Stopped: the job was cancelled or is handed over.
    """
    storage = await step.storage()
    attempt = 1
    by_itself = 1
    while True:
        prepared, submission = await step.submit(attempt)
        job.state.unsure = None
        failure = submission.refusal
        if failure is None:
            job.state.awaited = f"{step.provider.job_name} {submission.provider_job_id}"
            outcome = await step.wait(prepared, submission)
            job.state.awaited = None
            await job.turn.take()
            failure = outcome.failure
            if failure is None:
                return await step.store(prepared, submission, outcome)
        if attempt >= MOST_ATTEMPTS:
            raise failure.error()
        if await was_reported(storage, job, step.name, attempt):
            # The job has ended with this failure before, and a user has retried it since.
            by_itself = 1
        elif failure.retryable and by_itself < get_settings().max_attempts:
            by_itself += 1
        else:
            raise AttemptFailed(failure.error(), step.name, attempt)
        attempt += 1
