"""Send a paid request at most once, whatever happens to the answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
from tasks.job import Job

logger = logging.getLogger("prefect.pro_video.submit")

# A body holds some links and rectangles; anything near this size is not ours.
_LARGEST_BODY = 4 * 1024 * 1024
# Sends of one attempt, each after a search that found nothing.
_MOST_SENDS = 3
_FIRST_PAUSE = 5.0
# Between two tries to reach a provider that is away.
_PATIENCE = Backoff(first=2.0, longest=60.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Sender:
    """How one provider is asked.

    Attributes:
        step: ``lip-sync`` or ``inpainting``.
        send: send the exact bytes once. Raises ``OutcomeUnknown`` when the answer is lost.
        find: look for the attempt's job at the provider, by its reference.
        adopt: read a job that the provider named itself.
        search_seconds: how long a listing may lag behind a submit, in seconds; 0 is one look.
    """

    step: str
    send: Callable[[bytes], Awaitable[Submission]]
    find: Callable[[], Awaitable[Submission | None]]
    adopt: Callable[[str], Awaitable[Submission]]
    search_seconds: float


async def submit_once(job: Job, storage: Storage, prepared: Prepared, sender: Sender) -> Submission:
    """Get the attempt accepted, or learn why it is refused.

    Before the first send a mark is set in the bucket, by one worker only. Whoever finds the mark
    set looks for the job at the provider before sending, because an answer may have been lost.

    Raises:
        OutcomeUnknown: sent, lost, and not found; nobody can say. A retry of the run looks again.
        DeadlineExceeded: the account had no free slot in time; nothing was created.
        TransientError: the provider cannot be asked now.
        Stopped: the job was cancelled or is handed over.
    """
    reach("submit.before-mark", sender.step)
    uncertain = not await storage.put_bytes(
        f"{prepared.body_key}-sent",
        job.now().isoformat().encode(),
        content_type="text/plain",
        if_absent=True,
    )
    reach("submit.marked", sender.step)
    if uncertain:
        found = await _search(job, sender)
        if found is not None:
            return found
    body = await storage.get_bytes(prepared.body_key, _LARGEST_BODY)
    if body is None:
        raise StorageRefused(
            f"The prepared request {prepared.body_key} is gone from the bucket; start a new job",
            code="record_missing",
        )
    for _ in range(_MOST_SENDS):
        try:
            return await _send(job, sender, body)
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
            return _refused(job, error)
        found = await _search(job, sender)
        if found is not None:
            return found
    raise unknown


async def _send(job: Job, sender: Sender, body: bytes) -> Submission:
    async def send() -> Submission:
        reach("submit.before-send", sender.step)
        submission = await sender.send(body)
        reach("submit.answered", sender.step)
        return submission

    async def told(error: TransientError, elapsed: float, seconds: float) -> None:
        logger.info("Waiting for a free slot since %.0f s: %s", elapsed, error.message)

    settings = get_settings()
    policy = WaitPolicy(
        deadline=settings.slot_deadline_hours * 3600, first=2.0, longest=settings.poll_seconds * 3
    )
    return await _patiently(
        job,
        lambda: until_slot(
            send,
            policy,
            clock=job.clock,
            stop=current_stop(),
            on_wait=told,
        ),
    )


async def _search(job: Job, sender: Sender) -> Submission | None:
    """Look several times over the time that a listing may lag; None when it was never there."""
    until = job.clock.monotonic() + sender.search_seconds
    seconds = _FIRST_PAUSE
    while True:
        found = await _patiently(job, sender.find)
        left = until - job.clock.monotonic()
        if found is not None or left <= 0:
            return found
        await pause(min(seconds, left), clock=job.clock, stop=current_stop())
        seconds *= 2


async def _patiently(job: Job, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while the provider cannot be reached, up to the deadline for a slot.

    Only for what is safe to repeat: looks, and sends that surely did not arrive.
    """
    deadline = job.clock.monotonic() + get_settings().slot_deadline_hours * 3600
    failures = 0
    while True:
        try:
            return await call()
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
