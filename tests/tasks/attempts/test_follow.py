"""The wait for a provider's job: hours of it, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, cast

import pytest

from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    DeadlineExceeded,
    JobFailed,
    JobFailedRetryable,
    ProVideoError,
    ResultLocked,
    ServiceUnavailable,
)
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.core.waiting import Observation, Parked
from pro_video.providers.ghostcut.models import Work
from pro_video.providers.ghostcut.status import ConfirmingObserver
from pro_video.records import Outcome, Prepared, Submission
from tasks.attempts.follow import follow
from tasks.run.job import Job
from tests.tasks.conftest import UnaskedProvider

HOUR = 3600.0


class Watched(UnaskedProvider):
    """A provider whose job ends at a moment of virtual time, well or with an error."""

    def __init__(self, job: Job, ends_at: float, error: Exception | None = None) -> None:
        self.job = job
        self.ends_at = job.clock.time() + ends_at
        self.error = error
        self.looks = 0
        self.away: list[Exception] = []

    async def read(self, job_id: str) -> bool:
        self.looks += 1
        if self.away:
            raise self.away.pop()
        return self.job.clock.time() >= self.ends_at

    def observe(self, found: bool) -> Observation[bool]:
        if found and self.error is not None:
            raise self.error
        return Observation(done=found, value=found)


async def follow_accepted(job: Job, provider: UnaskedProvider, accepted: datetime) -> Outcome:
    prepared = Prepared(
        attempt=1, reference="pv-1", body_key="k", prepared_at=accepted, expected_seconds=600
    )
    submission = Submission(provider_job_id="p-1", submitted_at=accepted)
    return await follow(job, provider, prepared, submission)


async def wait(job: Job, watched: Watched, *, submitted: float = 0.0, hours: float = 6) -> Outcome:
    """Follow a job that was accepted ``submitted`` seconds ago."""
    accepted = datetime.fromtimestamp(job.clock.time() - submitted, UTC)
    watched.deadline_hours = hours
    return await follow_accepted(job, watched, accepted)


def reasons(job: Job) -> list[str | None]:
    """The causes of standing still that were shown, each once."""
    found: list[str | None] = cast("Any", job.reporter).reasons
    return found


async def test_five_hours_are_waited_for_with_few_looks(job: Job) -> None:
    watched = Watched(job, 5 * HOUR)
    outcome = await wait(job, watched)
    assert outcome.failure is None
    assert 5 * HOUR <= (outcome.finished_at - job.state.created_at).total_seconds() < 5.1 * HOUR
    assert watched.looks < 5 * HOUR / 5


async def test_the_shown_progress_only_rises(job: Job) -> None:
    await wait(job, Watched(job, 1200))
    reporter: Any = job.reporter
    assert reporter.fractions == sorted(reporter.fractions)
    assert 0 < reporter.fractions[-1] <= 1


async def test_the_deadline_counts_from_the_submission(job: Job) -> None:
    begun = job.clock.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"generation p-1.*may still go on"):
        await wait(job, Watched(job, 9 * HOUR), submitted=4 * HOUR)
    assert job.clock.monotonic() - begun == pytest.approx(2 * HOUR, abs=60)


async def test_a_retry_after_the_deadline_gets_the_whole_time_again(job: Job) -> None:
    outcome = await wait(job, Watched(job, 5 * HOUR), submitted=7 * HOUR)
    assert outcome.failure is None


@pytest.mark.parametrize("error", [JobFailed, JobFailedRetryable])
async def test_the_providers_failure_is_kept_not_raised(job: Job, error: type[JobFailed]) -> None:
    outcome = await wait(job, Watched(job, 100, error("Broken.", code="x")))
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.code) == (error.__name__, "x")
    assert outcome.failure.retryable is (error is JobFailedRetryable)


async def test_paid_work_that_is_held_back_is_waited_for(job: Job) -> None:
    """A top-up unlocks it; another attempt would be a second payment."""
    watched = Watched(job, 100, ResultLocked("Locked.", provider="ghostcut", code="83"))

    async def top_up() -> None:
        await job.clock.sleep(2 * HOUR)
        watched.error = None

    topping_up = asyncio.create_task(top_up())
    outcome = await wait(job, watched)
    await topping_up
    assert outcome.failure is None
    assert job.clock.monotonic() < 2.1 * HOUR
    locked = "Locked. See to the account of GhostCut. The job goes on by itself."
    assert reasons(job) == [locked, None]


async def test_paid_work_that_stays_held_back_is_looked_at_by_a_retry(job: Job) -> None:
    watched = Watched(job, 100, ResultLocked("Locked.", provider="ghostcut", code="83"))
    with pytest.raises(DeadlineExceeded, match=r"Locked\. See to the account.*Retry the run"):
        await wait(job, watched)


REFUSED = (
    CredentialsRefused("HTTP 401", provider="sync.so", code="http_401"),
    "Sync.so refuses the key; correct the block sync-so-credentials/pro-video. "
    "The job goes on by itself.",
)
OWING = (
    AccountBlocked("Sync.so blocks the account: pay.", provider="sync.so", code="http_402"),
    "Sync.so blocks the account: pay. See to the account of Sync.so. The job goes on by itself.",
)


@pytest.mark.parametrize(("error", "reason"), [REFUSED, OWING])
async def test_a_refused_look_says_nothing_about_the_job(
    job: Job, error: ProVideoError, reason: str
) -> None:
    watched = Watched(job, 4 * HOUR)
    watched.away = [error] * 100
    outcome = await wait(job, watched)
    assert outcome.failure is None
    # One state says why, however often it was looked at, and one that it goes on.
    assert reasons(job) == [reason, None]


async def test_a_look_that_stays_refused_ends_at_the_deadline(job: Job) -> None:
    watched = Watched(job, HOUR)
    watched.away = [REFUSED[0]] * 5000
    with pytest.raises(DeadlineExceeded, match="refuses the key; correct the block"):
        await wait(job, watched, hours=2)
    assert job.clock.monotonic() == pytest.approx(2 * HOUR, abs=60)


async def test_work_that_was_never_started_is_a_failed_attempt(job: Job) -> None:
    outcome = await wait(job, Watched(job, 100, AccountBlocked("No points.", code="73")))
    assert outcome.failure is not None
    assert outcome.failure.code == "73"


async def test_a_provider_that_is_away_for_a_while_ends_nothing(job: Job) -> None:
    watched = Watched(job, 1000)
    watched.away = [ServiceUnavailable("Away.") for _ in range(20)]
    assert (await wait(job, watched)).failure is None


@pytest.mark.parametrize("reason", StopReason)
async def test_an_order_to_stop_ends_the_wait_at_once(job: Job, reason: StopReason) -> None:
    stop = StopSignal()

    class Stopping(Watched):
        async def read(self, job_id: str) -> bool:
            if self.looks == 3:
                stop.set(reason)
            return await super().read(job_id)

    watched = Stopping(job, 5 * HOUR)
    with use_stop(stop), pytest.raises(Stopped) as raised:
        await wait(job, watched)
    assert raised.value.reason is reason
    assert watched.looks <= 4


class Statuses(UnaskedProvider):
    """A GhostCut work whose looks show these statuses, and the moments of its looks."""

    def __init__(self, job: Job, statuses: list[int]) -> None:
        self.job = job
        self.statuses = statuses
        self.looked_at: list[float] = []
        self.confirmed = ConfirmingObserver()

    async def read(self, job_id: str) -> Work:
        self.looked_at.append(self.job.clock.monotonic())
        return Work(id=job_id, status=self.statuses[len(self.looked_at) - 1])

    def observe(self, found: Work) -> Observation[Work]:
        return self.confirmed(found)


async def follow_statuses(job: Job, statuses: list[int]) -> tuple[Outcome, list[float]]:
    accepted = datetime.fromtimestamp(job.clock.time(), UTC)
    work = Statuses(job, statuses)
    return await follow_accepted(job, work, accepted), work.looked_at


@pytest.mark.parametrize(
    ("statuses", "code"), [([0, 404, 404], "404"), ([0, 404, 0, 404, 1], None), ([0, 20], "20")]
)
async def test_an_unlisted_failure_is_believed_when_it_is_seen_again_a_pause_later(
    job: Job, statuses: list[int], code: str | None
) -> None:
    outcome, looked_at = await follow_statuses(job, statuses)
    failure = outcome.failure
    assert (failure and failure.kind, failure and failure.code) == (code and "JobFailed", code)
    assert len(looked_at) == len(statuses)
    assert all(after - before >= 1 for before, after in pairwise(looked_at))


async def park_and_return(job: Job, watched: Watched, *, hours: float = 6) -> list[float]:
    """Follow a job over parkings, as processes do that come one after the other; the times of
    their begins since the acceptance."""
    accepted = datetime.fromtimestamp(job.clock.time(), UTC)
    watched.deadline_hours = hours
    begins = [0.0]
    with use_stop(StopSignal(may_park=True)):
        while True:
            try:
                await follow_accepted(job, watched, accepted)
            except Parked as parked:
                await job.clock.sleep(parked.until - job.clock.time())
                job.state.woken = True
                begins.append(job.clock.time() - accepted.timestamp())
            else:
                return begins


async def test_a_wait_is_parked_with_few_and_growing_pauses(job: Job) -> None:
    watched = Watched(job, 5 * HOUR)
    begins = await park_and_return(job, watched)
    pauses = [after - before for before, after in pairwise(begins)]
    assert 5 <= len(pauses) <= 8
    # The lag at most doubles the wait.
    at_most = (1.1 * max(900, at) + 60 for at in begins)
    assert all(pause <= most for pause, most in zip(pauses, at_most, strict=False))
    # A look in each process can be wrong once.
    assert watched.looks >= 2 * len(pauses)


async def test_a_short_wait_is_not_parked(job: Job) -> None:
    assert await park_and_return(job, Watched(job, 15)) == [0.0]


async def test_the_deadline_holds_over_parkings(job: Job) -> None:
    begun = job.clock.monotonic()
    with pytest.raises(DeadlineExceeded):
        await park_and_return(job, Watched(job, 9 * HOUR), hours=2)
    assert job.clock.monotonic() - begun == pytest.approx(2 * HOUR, abs=60)


async def test_a_parked_wait_that_is_late_is_no_retry(job: Job) -> None:
    job.state.woken = True
    with pytest.raises(DeadlineExceeded):
        await wait(job, Watched(job, 9 * HOUR), submitted=8 * HOUR)


async def test_a_parked_wait_says_what_it_waits_for(job: Job) -> None:
    watched = Watched(job, 4 * HOUR)
    with use_stop(StopSignal(may_park=True)):
        with pytest.raises(Parked, match=r"Waiting for Sync\.so generation p-1 since 2025-12-31"):
            await wait(job, watched, submitted=60)
        watched.away = [REFUSED[0]] * 100
        with pytest.raises(Parked, match=r"Sync\.so refuses the key; correct the block"):
            await wait(job, watched, submitted=60)
