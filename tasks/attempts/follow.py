"""Follows a provider's job to its end and shows its progress."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from pro_video.core.checkpoints import reach
from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    ResultLocked,
    TerminalError,
)
from pro_video.core.progress import expected_fraction
from pro_video.core.settings import get_settings
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import Observation, Parked, WaitPolicy, wait_for
from pro_video.records import Failure, Outcome, Prepared, Submission
from tasks.attempts.access import withheld
from tasks.attempts.provider import Provider
from tasks.callbacks.wake import wake_signals
from tasks.run.job import Job


async def follow(
    job: Job, provider: Provider[Any], prepared: Prepared, submission: Submission
) -> Outcome:
    """Wait for one provider's job.

    A refused key, an account that owes money, and a result that is withheld until the account
    pays are waited out: the job's state says why, and the job goes on by itself.

    The deadline counts from the submission, over restarts. A wait that is taken up at its deadline
    or later, by a retry of the failed run, gets the whole time again. A long wait is parked where
    the process allows it.

    Args:
        job: the job whose progress is shown.
        provider: the provider; its callback ends a pause early.
        prepared: the attempt.
        submission: the provider's acceptance.

    Raises:
        DeadlineExceeded: not done in time; the provider's job may go on.
        TerminalError: the job cannot be read; it may still go on.
        Parked: the wait goes on outside of this process.
        Stopped: the job was cancelled or is handed over.
    """
    job_id, step = submission.job_id, provider.step

    async def show(seen: Observation[Any], elapsed: float) -> None:
        fraction = seen.progress
        if fraction is None:
            fraction = expected_fraction(elapsed, prepared.expected_seconds)
        await job.reporter.fraction(provider.stage, fraction)

    async def look() -> Observation[Any]:
        reach("wait.before-look", step)
        try:
            seen = await provider.read(job_id)
        except (CredentialsRefused, AccountBlocked) as error:
            raise await withheld(job, error) from None
        reach("wait.looked", step)
        try:
            found = provider.observe(seen)
        except ResultLocked as error:
            # Another attempt would buy the same work again.
            raise await withheld(job, error) from None
        except TerminalError as error:
            raise _ReportedFailure(error) from None
        await job.reporter.blocked(None)
        return found

    deadline = provider.deadline_hours * 3600
    started_at = submission.submitted_at.timestamp()
    if not job.state.woken and job.clock.time() - started_at > deadline * _NEARLY_OVER:
        started_at = job.clock.time()
    stop, settings = current_stop(), get_settings()
    policy = WaitPolicy(
        deadline=deadline,
        first=min(2.0, settings.poll_seconds),
        longest=settings.poll_seconds,
        expected=prepared.expected_seconds,
        park_after=settings.park_after_seconds if stop.may_park else None,
    )
    try:
        with wake_signals.waiting(provider.slug, job_id) as wake:
            await wait_for(
                look,
                policy,
                clock=job.clock,
                stop=stop,
                wake=wake,
                on_observation=show,
                started_at=started_at,
                what=f"{provider.job_name} {job_id}",
            )
    except Parked as parked:
        since = submission.submitted_at.astimezone(UTC)
        reason = job.reporter.blocked_by or (
            f"{provider.stage.value.message} Waiting for {provider.job_name} {job_id} since "
            f"{since:%Y-%m-%d %H:%M:%S} UTC."
        )
        raise Parked(parked.until, reason) from None
    except _ReportedFailure as ended:
        reach("wait.ended", step)
        return Outcome(finished_at=job.now(), failure=Failure.of(ended.error))
    reach("wait.ended", step)
    return Outcome(finished_at=job.now())


# Share of the deadline behind which a wait begins anew. A clock that was set back a little must not
# leave a retry with seconds.
_NEARLY_OVER = 0.99


class _ReportedFailure(Exception):
    """The provider itself reports that the job failed: only this allows another attempt."""

    def __init__(self, error: TerminalError) -> None:
        super().__init__(error.message)
        self.error = error
