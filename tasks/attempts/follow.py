"""Follows a provider's job to its end, showing its progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pro_video.core.checkpoints import reach
from pro_video.core.errors import AccountBlocked, CredentialsRefused, TerminalError
from pro_video.core.progress import Stage, expected_fraction
from pro_video.core.settings import get_settings
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import Observation, WaitPolicy, wait_for
from pro_video.records import Failure, Outcome, Prepared, Submission
from tasks.attempts.access import withheld
from tasks.callbacks.wake import bells
from tasks.run.job import Job

T = TypeVar("T")


async def follow(
    job: Job,
    prepared: Prepared,
    submission: Submission,
    *,
    step: str,
    provider: str,
    stage: Stage,
    deadline_hours: float,
    fetch: Callable[[], Awaitable[T]],
    observe: Callable[[T], Observation[T]],
    what: str,
) -> Outcome:
    """Wait for one provider's job.

    A key that is refused, an account that owes money, and a result that is held back for lack of
    points are waited out: the job's state says why, and it goes on by itself.

    The deadline counts from the submission, over restarts. A wait that is taken up at its deadline
    or later, by a retry of the failed run, gets the whole time again.

    Args:
        job: the job whose progress is shown.
        prepared: the attempt.
        submission: the provider's acceptance.
        step: ``lip-sync`` or ``inpainting``.
        provider: the provider; its callback ends a pause early.
        stage: the row of the progress table that fills up meanwhile.
        deadline_hours: longest wait, in hours.
        fetch: reads the job; an error of it says nothing about how the job ended.
        observe: interprets the job as read; raises a ``TerminalError`` when the provider says that
            it ended badly.
        what: names the provider's job in texts.

    Raises:
        DeadlineExceeded: not done in time; the provider's job may go on.
        TerminalError: the job cannot be read; it may still go on.
        Stopped: the job was cancelled or is handed over.
    """

    async def show(seen: Observation[T], elapsed: float) -> None:
        fraction = seen.progress
        if fraction is None:
            fraction = expected_fraction(elapsed, prepared.expected_seconds)
        await job.reporter.fraction(stage, fraction)

    async def look() -> Observation[T]:
        reach("wait.before-look", step)
        try:
            seen = await fetch()
        except (CredentialsRefused, AccountBlocked) as error:
            raise await withheld(job, error) from None
        reach("wait.looked", step)
        try:
            found = observe(seen)
        except TerminalError as error:
            if isinstance(error, AccountBlocked) and error.code == _HELD_BACK:
                # Paid work waits there for a top-up; another attempt would buy it again.
                raise await withheld(job, error) from None
            raise _Ended(error) from None
        await job.reporter.blocked(None)
        return found

    deadline = deadline_hours * 3600
    started_at = submission.submitted_at.timestamp()
    if job.clock.time() - started_at > deadline * _ALL_BUT:
        started_at = job.clock.time()
    longest = get_settings().poll_seconds
    policy = WaitPolicy(
        deadline=deadline,
        first=min(2.0, longest),
        longest=longest,
        expected=prepared.expected_seconds,
    )
    try:
        with bells.listening(provider, submission.provider_job_id or "") as bell:
            await wait_for(
                look,
                policy,
                clock=job.clock,
                stop=current_stop(),
                wake=bell,
                on_observation=show,
                started_at=started_at,
                what=what,
            )
    except _Ended as ended:
        reach("wait.ended", step)
        return Outcome(finished_at=job.now(), failure=Failure.of(ended.error))
    reach("wait.ended", step)
    return Outcome(finished_at=job.now())


# A clock that was set back a little must not leave a retry with seconds.
_ALL_BUT = 0.99
# GhostCut: processed, but locked for lack of points.
_HELD_BACK = "83"


class _Ended(Exception):
    """The provider itself said that the job ended badly: alone this allows another attempt."""

    def __init__(self, error: TerminalError) -> None:
        super().__init__(error.message)
        self.error = error
