"""Attempts and results that a run has reported as failed; a user's retry goes on behind them."""

from __future__ import annotations

from pro_video.core.checkpoints import reach
from pro_video.core.errors import TerminalError
from pro_video.core.job_names import copied
from pro_video.s3.storage import Storage
from tasks.run.job import Job


class AttemptFailed(Exception):
    """The last attempt failed for good, or its result is not used.

    Attributes:
        error: the reason.
        step, attempt, copy: what the report of the failure closes.
    """

    def __init__(self, error: TerminalError, step: str, attempt: int, copy: int = 1) -> None:
        super().__init__(error.message)
        self.error = error
        self.step = step
        self.attempt = attempt
        self.copy = copy


async def close_attempt(job: Job, storage: Storage, step: str, attempt: int, copy: int = 1) -> None:
    """Keep the job's number of retries at the time when the failure of an attempt was reported, or
    the rejection of a copy of its result; :func:`was_reported` compares it."""
    reach("attempt.closing", step)
    await storage.put_bytes(
        _key(job, step, attempt, copy),
        str(job.state.retries).encode(),
        content_type="text/plain",
        if_absent=True,
    )
    reach("attempt.closed", step)


async def was_reported(storage: Storage, job: Job, step: str, attempt: int, copy: int = 1) -> bool:
    """Has a user retried the job since the attempt, or the copy of its result, was closed?

    A job whose process dies between the closing and the final state begins again by itself. That
    is no user's request to pay, nor to use a result.
    """
    closed = await storage.get_bytes(_key(job, step, attempt, copy))
    return closed is not None and int(closed) < job.state.retries


def _key(job: Job, step: str, attempt: int, copy: int) -> str:
    return job.keys.record(f"{step}-{attempt}-{copied('reported', copy)}")
