"""The shared part of all steps of a transfer: target, limits, pace, interrupt and progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pro_video.core.errors import TransientError
from pro_video.core.retrying import Backoff
from pro_video.net.interrupt import Interrupt
from pro_video.s3.objects import Target

Placing = Callable[[bytes], Target]
"""The target of a file, by its first bytes (`file_types.HEAD_BYTES`, or all of a smaller file)."""

OnProgress = Callable[[int, int | None], None]
"""(bytes stored, bytes in all or None while unknown); called from a thread, never backwards."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes and patience of transfers.

    Attributes:
        part_size: smallest part in bytes; S3 takes 5 MiB to 5 GiB (the last part may be smaller).
        workers: parts moved at the same time in one transfer. Memory of a transfer is about
            ``part_size * workers``.
        copy_limit: objects above this size in bytes are copied in parts; S3 copies at most 5 GB at
            once.
        copy_part_size: bytes per part of such a copy.
        backoff: pauses and number of tries after failures without progress.
        restarts: new starts of a source that cannot resume.
    """

    part_size: int = 8 * 1024 * 1024
    workers: int = 4
    copy_limit: int = 1024**3
    copy_part_size: int = 256 * 1024 * 1024
    backoff: Backoff = field(default_factory=lambda: Backoff(first=0.5, longest=15.0, tries=6))
    restarts: int = 2


def _no_progress(done: int, total: int | None) -> None:
    return


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer into the bucket.

    Attributes:
        target: the object to write, or a function that chooses it by the file's first bytes. An
            empty content type stands for that of the source.
        interrupt: ends the transfer on cancellation, stop or deadline.
        tuning: sizes and patience.
        max_bytes: largest file taken, checked before and while it is read.
        expected_size: exact size in bytes, when it is known.
        report: called after each part.
    """

    target: Target | Placing
    interrupt: Interrupt
    tuning: Tuning
    max_bytes: int
    expected_size: int | None = None
    report: OnProgress = _no_progress

    def retries(self) -> Retries:
        """A fresh count of failures."""
        return Retries(self.tuning.backoff, self.interrupt)


class Retries:
    """Failures in a row, with pauses between them."""

    def __init__(self, backoff: Backoff, interrupt: Interrupt) -> None:
        self._backoff = backoff
        self._interrupt = interrupt
        self._failures = 0

    def progressed(self) -> None:
        """Begin the count anew."""
        self._failures = 0

    def failed(self, error: TransientError) -> None:
        """Pause before the next try; raise the error when no try is left."""
        self._interrupt.check()
        self._failures += 1
        if self._failures >= self._backoff.tries:
            raise error from None
        self._interrupt.pause(self._backoff.pause(self._failures, error.retry_after))
