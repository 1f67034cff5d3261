"""Sends a paid request at most once, also when the response is lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from pro_video.core.checkpoints import reach
from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    OutcomeUnknown,
    ProviderRefused,
    RequestConflict,
    ServiceUnavailable,
    StorageRefused,
    TerminalError,
    TransientError,
)
from pro_video.core.job_names import references_from
from pro_video.core.retrying import Backoff
from pro_video.core.settings import get_settings
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import WaitPolicy, pause, until_slot
from pro_video.records import Failure, Prepared, Submission
from pro_video.s3.storage import Storage
from tasks.attempts.access import once_allowed
from tasks.attempts.provider import AcceptedJob, Provider
from tasks.run.job import Job

logger = logging.getLogger("prefect.pro_video.submit")

# Sends of one attempt, each after a search that found nothing.
_MOST_SENDS = 3
# Pauses between two looks of a search, in seconds.
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
# A check for a later turn is valid for so many seconds. A worker counts as lost after 90 s at the
# earliest, so that an older check may have missed its successor.
_CHECK_VALID = 30.0
# Checks before one send; the machine stood still after each but the last.
_MOST_CHECKS = 10
# Begins of one turn; each but the first follows a removal of its marks from the bucket.
_MOST_BEGINS = 3
# Pauses between two calls of a provider that cannot be reached.
_PATIENCE = Backoff(first=2.0, longest=60.0)

T = TypeVar("T")


class _TakenOver(Exception):
    """Another worker is submitting this attempt."""


class _Removed(Exception):
    """The marks of this turn are gone from the bucket."""


class _CheckExpired(Exception):
    """The last check for a later turn is too old for a send."""


@dataclass(frozen=True)
class _Turn:
    """One worker's turn at submitting one attempt.

    Attributes:
        token: name of this turn.
        doubt: seconds for which the provider is searched before a send, because a request may have
            been sent before; None when none was.
        since: time of the first worker's begin, or earlier.
    """

    job: Job
    storage: Storage
    provider: Provider[Any]
    prepared: Prepared
    token: str
    doubt: float | None
    since: datetime

    def widened(self) -> _Turn:
        """This turn with a search that goes back to the job's begin: nothing of a job is older than
        its run, whatever the clocks of its machines say."""
        return replace(self, since=min(self.since, self.job.state.created_at))

    async def check(self) -> Callable[[], None]:
        """Make sure that no later turn has begun; the function that is returned raises once this
        check is too old.

        A turn begins with a search over the time that a listing may lag, which is longer than a
        send. It therefore finds a job that was sent directly after a check. A machine may stand
        still between check and send for minutes, with its clocks or without.

        Raises:
            _TakenOver: a later turn has begun.
            _Removed: the marks are gone, and nothing tells.
        """
        clock = self.job.clock
        monotonic, wall = clock.monotonic(), clock.time()
        current = await self.storage.get_bytes(_turn_key(self.prepared))
        if current is None:
            raise _Removed
        if current != self.token.encode():
            raise _TakenOver

        def still_valid() -> None:
            passed = max(clock.monotonic() - monotonic, clock.time() - wall)
            if passed > _CHECK_VALID:
                raise _CheckExpired(f"{passed:.0f} s have passed since the last check")

        return still_valid


async def submit_once(
    job: Job, storage: Storage, provider: Provider[Any], prepared: Prepared
) -> Submission:
    """Get the attempt accepted, or learn why it is refused.

    One worker sets a mark in the bucket before the first send. A worker that finds the mark set, or
    that is not the job's first, searches the provider before it sends, because a response may have
    been lost, and the mark with it. A provider's job that the run's labels name is adopted as it
    is. Of several workers with the same job the last one to begin sends, and the others find its
    job.

    Raises:
        OutcomeUnknown: sent without a response, and not found. A retry of the run searches again.
        DeadlineExceeded: the account had no free slot in time; nothing was created.
        TransientError: the provider cannot be reached.
        Stopped: the job was cancelled or is handed over.
    """
    known = job.evidence.provider_job(provider.step, prepared.attempt)
    if known is not None:
        return await _adopt(job, provider, known)
    turn = await _begin(job, storage, provider, prepared)
    try:
        for _ in range(_MOST_BEGINS):
            try:
                return await _submit(turn)
            except _Removed:
                logger.warning("%s: its marks were removed from the bucket", prepared.reference)
                again = await _begin(job, storage, provider, prepared)
                turn = replace(again, doubt=provider.search_seconds).widened()
        raise StorageRefused(
            f"The records of {prepared.reference} are removed from the bucket again and again. "
            "Keep results/ while jobs run, then retry this run to look for the attempt.",
            code="record_missing",
        )
    except _TakenOver:
        logger.warning("%s: submitted by another worker. Looking for it.", prepared.reference)
        found = await _search(turn.widened(), get_settings().slot_deadline_hours * 3600)
        if found is None:
            raise OutcomeUnknown(
                f"Another worker has submitted {prepared.reference}, and it is not found.",
                code="taken_over",
            ) from None
        return found


async def _begin(job: Job, storage: Storage, provider: Provider[Any], prepared: Prepared) -> _Turn:
    token = uuid.uuid4().hex
    await storage.put_bytes(_turn_key(prepared), token.encode(), content_type="text/plain")
    reach("submit.before-mark", provider.step)
    key = f"{prepared.body_key}-sent"
    # Read first, because some servers accept the condition and ignore it.
    mark = await storage.get_bytes(key)
    if mark is None:
        # The token makes the bytes differ from those of every other writer.
        own = f"{job.now().isoformat()} {token}".encode()
        if not await storage.put_bytes(key, own, content_type="text/plain", if_absent=True):
            mark = await storage.get_bytes(key) or b""
    reach("submit.marked", provider.step)
    since = min(job.now(), prepared.prepared_at)
    # The attempt's record may be younger than its first send: Prefect goes on after a task whose
    # result could not be written.
    since = min(since, _time_in(mark or b"", default=since))
    doubt = _doubt(job, provider, prepared, mark)
    turn = _Turn(job, storage, provider, prepared, token, doubt, since)
    return turn if turn.doubt is None else turn.widened()


def _doubt(
    job: Job, provider: Provider[Any], prepared: Prepared, mark: bytes | None
) -> float | None:
    if mark is not None or prepared.reference in job.evidence.sent:
        return provider.search_seconds
    if job.evidence.is_unnamed(provider.step, provider.stage):
        return provider.search_seconds
    if job.evidence.starts > 1:
        # An earlier process sent before this one began; the listing lags behind that send no longer
        # than behind any other.
        begun = job.clock.monotonic() - job.evidence.began_at
        return max(0.0, provider.search_seconds - begun)
    return None


async def _submit(turn: _Turn) -> Submission:
    prepared, provider = turn.prepared, turn.provider
    uncertain = turn.doubt is not None
    if turn.doubt is not None:
        found = await _search(turn, turn.doubt)
        if found is not None:
            return found
    body = await turn.storage.get_bytes(prepared.body_key)
    if body is None:
        raise StorageRefused(
            f"The prepared request {prepared.body_key} is gone from the bucket; start a new job",
            code="record_missing",
        )
    unknown: OutcomeUnknown | RequestConflict
    for _ in range(_MOST_SENDS):
        try:
            return await _send(turn, body)
        except OutcomeUnknown as error:
            uncertain = True
            unknown = error
            logger.warning("%s: %s Looking for the job.", prepared.reference, error.message)
            if error.job_id is not None:
                return await _adopt(turn.job, provider, error.job_id)
        except RequestConflict as error:
            # The key is this attempt's alone: an earlier send has arrived, whatever became of its
            # records.
            uncertain = True
            unknown = error
            turn = turn.widened()
            logger.warning("%s: %s Looking for the job.", prepared.reference, error.message)
        except (ProviderRefused, AccountBlocked, CredentialsRefused) as error:
            if uncertain:
                # This send was refused; an earlier one may have been accepted.
                raise
            return _refused(turn.job, error)
        found = await _search(turn, provider.search_seconds)
        if found is not None:
            return found
    raise unknown


async def _send(turn: _Turn, body: bytes) -> Submission:
    provider, reference = turn.provider, turn.prepared.reference

    async def send() -> Submission:
        for _ in range(_MOST_CHECKS):
            still_valid = await turn.check()
            reach("submit.before-send", provider.step)
            turn.job.evidence.sent.add(reference)
            try:
                accepted = await provider.send(body, reference, still_valid)
            except _CheckExpired as expired:
                logger.warning("%s: %s. Checking again.", reference, expired)
                continue
            reach("submit.answered", provider.step)
            return _submission(turn.job, accepted)
        raise ServiceUnavailable("This machine stands still again and again; nothing was sent.")

    async def log_wait(error: TransientError, elapsed: float, seconds: float) -> None:
        logger.info("Waiting for a free slot since %.0f s: %s", elapsed, error.message)

    settings = get_settings()
    policy = WaitPolicy(
        deadline=settings.slot_deadline_hours * 3600, first=2.0, longest=settings.poll_seconds * 3
    )
    return await _patiently(
        turn.job,
        lambda: until_slot(
            send,
            policy,
            clock=turn.job.clock,
            stop=current_stop(),
            on_wait=log_wait,
        ),
    )


async def _search(turn: _Turn, search_seconds: float) -> Submission | None:
    """Look several times over the time that a listing may lag; None when the job never appears."""
    job, prepared = turn.job, turn.prepared
    references = references_from(job.job_id, turn.provider.step, prepared.attempt)

    async def look() -> AcceptedJob | None:
        return await turn.provider.find(references, since=turn.since, until=job.now())

    until = job.clock.monotonic() + search_seconds
    seconds = _FIRST_PAUSE
    while True:
        found = await _patiently(job, look)
        left = until - job.clock.monotonic()
        if found is not None:
            return _submission(job, found, adopted=True)
        if left <= 0:
            return None
        await pause(min(seconds, left), clock=job.clock, stop=current_stop())
        seconds = min(seconds * 2, _LONGEST_PAUSE)


async def _patiently(job: Job, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call while the provider cannot be reached or refuses the account, up to the deadline
    for a slot.

    Only for calls that are safe to repeat: reads, and sends that certainly did not arrive.
    """
    deadline = job.clock.monotonic() + get_settings().slot_deadline_hours * 3600
    failures = 0
    while True:
        try:
            return await once_allowed(job, call)
        except OutcomeUnknown:
            raise
        except TransientError as error:
            if job.clock.monotonic() >= deadline:
                raise
            failures += 1
            seconds = _PATIENCE.pause(failures, error.retry_after)
            logger.warning("%s Trying again in %.0f s.", error.message, seconds)
        await pause(seconds, clock=job.clock, stop=current_stop())


async def _adopt(job: Job, provider: Provider[Any], job_id: str) -> Submission:
    found = await _patiently(job, partial(provider.adopt, job_id))
    return _submission(job, found, adopted=True)


def _submission(job: Job, accepted: AcceptedJob, *, adopted: bool = False) -> Submission:
    return Submission(
        provider_job_id=accepted.id,
        submitted_at=job.now(),
        adopted=adopted,
        response=dict(accepted.response),
    )


def _refused(job: Job, error: TerminalError) -> Submission:
    return Submission(submitted_at=job.now(), refusal=Failure.of(error))


def _turn_key(prepared: Prepared) -> str:
    return f"{prepared.body_key}-turn"


def _time_in(mark: bytes, *, default: datetime) -> datetime:
    """The time in a mark; the default when the mark cannot be read."""
    try:
        return datetime.fromisoformat(mark.decode().partition(" ")[0])
    except ValueError:
        return default
