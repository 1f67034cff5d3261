"""Sends a paid request at most once, also when the response is lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pro_video.checkpoints import reach
from pro_video.errors import (
    AccountBlocked,
    CredentialsRefused,
    OutcomeUnknown,
    ProviderRefused,
    StorageRefused,
    TerminalError,
    TransientError,
)
from pro_video.records import Failure, Prepared, Submission
from pro_video.retrying import Backoff
from pro_video.settings import get_settings
from pro_video.stopping import current_stop
from pro_video.storage import Storage
from pro_video.waiting import WaitPolicy, pause, until_slot
from tasks.access import once_allowed
from tasks.job import Job

logger = logging.getLogger("prefect.pro_video.submit")

# A body holds some links and rectangles; anything near this size is not ours.
_LARGEST_BODY = 4 * 1024 * 1024
_LARGEST_MARK = 1024
# Sends of one attempt, each after a search that found nothing.
_MOST_SENDS = 3
# Between two looks of a search.
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
# Between two tries to reach a provider that is away.
_PATIENCE = Backoff(first=2.0, longest=60.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Sender:
    """How one provider is asked.

    Attributes:
        step: ``lip-sync`` or ``inpainting``.
        send: send the exact bytes once. Raises ``OutcomeUnknown`` when the answer is lost.
        find: look for the attempt's job at the provider, by its reference, among the jobs that were
            created since the given time.
        adopt: read a job that the provider named itself.
        search_seconds: how long a listing may lag behind a submit, in seconds; 0 is one look.
    """

    step: str
    send: Callable[[bytes], Awaitable[Submission]]
    find: Callable[[datetime], Awaitable[Submission | None]]
    adopt: Callable[[str], Awaitable[Submission]]
    search_seconds: float


class _TakenOver(Exception):
    """Another worker submits this attempt now."""


@dataclass(frozen=True)
class _Turn:
    """One worker's turn at submitting one attempt.

    Attributes:
        token: names this turn.
        first: nobody was about to send this attempt before.
        since: when the first worker was about to send it, or earlier.
    """

    job: Job
    storage: Storage
    prepared: Prepared
    sender: Sender
    token: str
    first: bool
    since: datetime

    async def check(self) -> None:
        """Return while no later turn has begun.

        A turn that begins looks for this one's job over the time that a listing may lag, which is
        longer than a send: whoever checks directly before a send is found by its successor.

        Raises:
            _TakenOver: a later turn has begun.
        """
        held_by = await self.storage.get_bytes(_turn_key(self.prepared), _LARGEST_MARK)
        if held_by != self.token.encode():
            raise _TakenOver


async def submit_once(job: Job, storage: Storage, prepared: Prepared, sender: Sender) -> Submission:
    """Get the attempt accepted, or learn why it is refused.

    Before the first send a mark is set in the bucket, by one worker only. Whoever finds the mark
    set looks for the job at the provider before sending, because an answer may have been lost. Of
    several workers that hold the same job, the last one to come sends, and the others find its
    job.

    Raises:
        OutcomeUnknown: sent, lost, and not found; nobody can say. A retry of the run looks again.
        DeadlineExceeded: the account had no free slot in time; nothing was created.
        TransientError: the provider cannot be asked now.
        Stopped: the job was cancelled or is handed over.
    """
    turn = await _begin(job, storage, prepared, sender)
    try:
        return await _submit(turn)
    except _TakenOver:
        logger.warning("%s: submitted by another worker. Looking for it.", prepared.reference)
        found = await _search(turn, get_settings().slot_deadline_hours * 3600)
        if found is None:
            raise OutcomeUnknown(
                f"Another worker has submitted {prepared.reference}, and it is not found.",
                code="taken_over",
            ) from None
        return found


async def _begin(job: Job, storage: Storage, prepared: Prepared, sender: Sender) -> _Turn:
    token = uuid.uuid4().hex
    await storage.put_bytes(_turn_key(prepared), token.encode(), content_type="text/plain")
    reach("submit.before-mark", sender.step)
    key = f"{prepared.body_key}-sent"
    now = job.now()
    # The token makes the bytes differ from those of every other writer.
    first = await storage.put_bytes(
        key, f"{now.isoformat()} {token}".encode(), content_type="text/plain", if_absent=True
    )
    reach("submit.marked", sender.step)
    since = min(now, prepared.prepared_at)
    if not first:
        # The attempt's own record may be younger than its first send: Prefect goes on with a task
        # whose result could not be written.
        mark = await storage.get_bytes(key, _LARGEST_MARK) or b""
        since = min(since, _moment(mark, default=since))
    return _Turn(job, storage, prepared, sender, token, first, since)


async def _submit(turn: _Turn) -> Submission:
    prepared, sender = turn.prepared, turn.sender
    uncertain = not turn.first
    if uncertain:
        found = await _search(turn, sender.search_seconds)
        if found is not None:
            return found
    body = await turn.storage.get_bytes(prepared.body_key, _LARGEST_BODY)
    if body is None:
        raise StorageRefused(
            f"The prepared request {prepared.body_key} is gone from the bucket; start a new job",
            code="record_missing",
        )
    for _ in range(_MOST_SENDS):
        try:
            return await _send(turn, body)
        except OutcomeUnknown as error:
            uncertain = True
            unknown = error
            logger.warning("%s: %s Looking for the job.", prepared.reference, error.message)
            if error.job_id is not None:
                return await sender.adopt(error.job_id)
        except (ProviderRefused, AccountBlocked, CredentialsRefused) as error:
            if uncertain:
                # The refusal is of this send; an earlier one may have been accepted.
                raise
            return _refused(turn.job, error)
        found = await _search(turn, sender.search_seconds)
        if found is not None:
            return found
    raise unknown


async def _send(turn: _Turn, body: bytes) -> Submission:
    step = turn.sender.step

    async def send() -> Submission:
        await turn.check()
        reach("submit.before-send", step)
        submission = await turn.sender.send(body)
        reach("submit.answered", step)
        return submission

    async def told(error: TransientError, elapsed: float, seconds: float) -> None:
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
            on_wait=told,
        ),
    )


async def _search(turn: _Turn, search_seconds: float) -> Submission | None:
    """Look several times over the time that a listing may lag; None when it was never there."""
    job = turn.job
    until = job.clock.monotonic() + search_seconds
    seconds = _FIRST_PAUSE
    while True:
        found = await _patiently(job, lambda: turn.sender.find(turn.since))
        left = until - job.clock.monotonic()
        if found is not None or left <= 0:
            return found
        await pause(min(seconds, left), clock=job.clock, stop=current_stop())
        seconds = min(seconds * 2, _LONGEST_PAUSE)


async def _patiently(job: Job, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while the provider cannot be reached or refuses the account, up to the
    deadline for a slot.

    Only for what is safe to repeat: looks, and sends that surely did not arrive.
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


def _refused(job: Job, error: TerminalError) -> Submission:
    return Submission(submitted_at=job.now(), refusal=Failure.of(error))


def _turn_key(prepared: Prepared) -> str:
    return f"{prepared.body_key}-turn"


def _moment(mark: bytes, *, default: datetime) -> datetime:
    """The time in a mark; a mark that cannot be read says nothing."""
    try:
        return datetime.fromisoformat(mark.decode().partition(" ")[0])
    except ValueError:
        return default
