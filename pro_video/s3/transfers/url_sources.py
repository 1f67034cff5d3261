"""Files behind a URL as sources of an upload: read in pinned ranges, or in one stream."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass, field

from pro_video.core.errors import (
    ProVideoError,
    SourceRefused,
    TransferInterrupted,
    TransientError,
)
from pro_video.core.retrying import Backoff
from pro_video.net.gate import Connection, Gate, Origin, connection_error
from pro_video.net.interrupt import Interrupt
from pro_video.s3.transfers.http_answers import (
    content_range,
    refusal,
    refuse_encoded,
    source_changed,
    strong_etag,
)
from pro_video.s3.transfers.multipart import Part, part_size_for
from pro_video.s3.transfers.uploads import Lane

_SLICE = 256 * 1024
"""Bytes per read: how fine progress inside a part is remembered, and how often a switch is looked
at."""

BROKEN = (OSError, http.client.HTTPException)


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


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one fetch.

    Attributes:
        max_bytes: largest file, checked before and while it is read.
        expected_size: exact size in bytes, when it is known.
    """

    max_bytes: int
    expected_size: int | None = None

    def check(self, total: int, label: str) -> None:
        """Compare a size that the source tells."""
        if total > self.max_bytes:
            raise SourceRefused(
                f"The source {label} has more than the {self.max_bytes} bytes that are taken.",
                code="too_large",
            )
        if self.expected_size is not None and total != self.expected_size:
            raise TransferInterrupted(
                f"The source {label} has {total} bytes instead of {self.expected_size}. Try again.",
                code="wrong_size",
            )


class CannotResume(TransferInterrupted):
    """One stream broke; another start may succeed."""


class Retries:
    """Failures in a row, with pauses between them."""

    def __init__(self, backoff: Backoff, interrupt: Interrupt) -> None:
        self._backoff = backoff
        self._interrupt = interrupt
        self._failures = 0

    def progressed(self) -> None:
        self._failures = 0

    def failed(self, error: TransientError) -> None:
        """Pause before the next try, or raise the error when there is none left."""
        self._interrupt.check()
        self._failures += 1
        if self._failures >= self._backoff.tries:
            raise error from None
        self._interrupt.pause(self._backoff.pause(self._failures, error.retry_after))


def transient(error: BaseException, host: str) -> TransientError:
    """The transient error behind a failure; a terminal one is raised."""
    meaning: BaseException = error
    if isinstance(error, BROKEN):
        meaning = connection_error(error, host)
    if isinstance(meaning, TransferInterrupted):
        return meaning
    raise meaning from None


@dataclass(slots=True)
class Answer:
    """An open answer and how much of it may be read; ``left`` is ``None`` for a chunked one."""

    connection: Connection
    response: http.client.HTTPResponse
    left: int | None

    def read_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as one slice goes; 0 at the promised end.

        Raises:
            OSError, HTTPException: cut.
        """
        wanted = min(len(view), _SLICE if self.left is None else min(_SLICE, self.left))
        if wanted == 0:
            return 0
        count = self.response.readinto(view[:wanted])
        if self.left is not None:
            if count == 0:
                raise http.client.IncompleteRead(b"", self.left)
            self.left -= count
        return count


class RangedSource:
    """Parts of a file, each by its own ranged GET that S3 semantics pin to one ETag."""

    def __init__(
        self,
        gate: Gate,
        origin: Origin,
        answer: Answer,
        *,
        etag: str,
        total: int,
        part_size: int,
        backoff: Backoff,
        interrupt: Interrupt,
    ) -> None:
        self.total = total
        self.part_size = part_size_for(total, part_size)
        self._gate = gate
        self._origin = origin
        self._first: Answer | None = answer
        self._etag = etag
        self._backoff = backoff
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._next = 0

    @property
    def ended(self) -> bool:
        """True once the last part was given out."""
        return self._next >= self.total

    def verify(self) -> None:
        """Nothing is left to do: each part had its length and the pinned ETag."""

    def next_part(self, lane: Lane) -> Part | None:
        """Read the next part into the lane's buffer over the lane's connection."""
        with self._lock:
            offset = self._next
            if offset >= self.total:
                return None
            size = min(self.part_size, self.total - offset)
            self._next += size
            answer, self._first = self._first, None
        if answer is not None:
            lane.connection = answer.connection
        if len(lane.data) != size:
            lane.data = bytearray(size)
        with memoryview(lane.data) as view:
            self._fill(lane, view, offset, answer)
        return Part(offset // self.part_size + 1, lane.data)

    def _fill(self, lane: Lane, view: memoryview, offset: int, answer: Answer | None) -> None:
        retries = Retries(self._backoff, self._interrupt)
        got = 0
        while got < len(view):
            self._interrupt.check()
            try:
                if answer is None:
                    answer = self._ask(lane, offset + got, offset + len(view) - 1)
                count = answer.read_into(view[got:])
            except (*BROKEN, ProVideoError) as error:
                answer = None
                if lane.connection is not None:
                    lane.connection.release()
                self._interrupt.check()
                retries.failed(transient(error, self._origin.host))
                continue
            if count == 0:
                answer = None
            else:
                got += count
                if count == _SLICE:
                    retries.progressed()
        if answer is not None and answer.left and lane.connection is not None:
            lane.connection.release()  # more was sent than asked for: nothing may follow on it

    def _ask(self, lane: Lane, first: int, last: int) -> Answer:
        if lane.connection is None:
            lane.connection = self._gate.connection(self._origin, self._interrupt)
        response = lane.connection.get({"Range": f"bytes={first}-{last}", "If-Match": self._etag})
        label = self._origin.label
        if response.status == 416:
            raise source_changed(label)
        if (problem := refusal(response, label)) is not None:
            raise problem
        given = content_range(response)
        if response.status == 200 or given is None:
            raise TransferInterrupted(
                f"The source {label} ignored the range it was asked for. Try again.",
                code="no_range",
            )
        if strong_etag(response) != self._etag or given.total != self.total:
            raise source_changed(label)
        refuse_encoded(response, label)
        if given.first != first or given.last > last:
            raise TransferInterrupted(
                f"The source {label} sent another range than asked for. Try again.", code="no_range"
            )
        return Answer(lane.connection, response, given.last - given.first + 1)


class StreamSource:
    """A file from one answer, front to back. Threads take turns at reading."""

    def __init__(
        self, label: str, answer: Answer, *, limits: Limits, part_size: int, interrupt: Interrupt
    ) -> None:
        self.total = answer.left if answer.left is not None else limits.expected_size
        # A source of unknown length may turn out to have as much as is taken.
        most = limits.max_bytes if self.total is None else self.total
        self.part_size = part_size_for(most, part_size)
        self.ended = False
        self._label = label
        self._answer = answer
        self._limits = limits
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._number = 0
        self._read = 0

    def verify(self) -> None:
        """Compare the bytes read with the size that was promised."""
        self._limits.check(self._read, self._label)

    def next_part(self, lane: Lane) -> Part | None:
        """Read on into the lane's buffer, in turn with other threads."""
        with self._lock:
            if self.ended:
                return None
            if len(lane.data) != self.part_size:
                lane.data = bytearray(self.part_size)
            got = self._fill(lane.data)
            if got == 0:
                return None
            del lane.data[got:]
            self._number += 1
            return Part(self._number, lane.data)

    def _fill(self, data: bytearray) -> int:
        got = 0
        with memoryview(data) as view:
            while got < len(view):
                self._interrupt.check()
                try:
                    count = self._answer.read_into(view[got:])
                except BROKEN as error:
                    self._interrupt.check()
                    raise CannotResume(
                        f"The source {self._label} broke off ({type(error).__name__}) and cannot"
                        " be resumed. Try again.",
                        code="source_cut",
                    ) from None
                if count == 0:
                    self.ended = True
                    break
                got += count
                self._read += count
                if self._read > self._limits.max_bytes:
                    self._limits.check(self._read, self._label)
        if self._answer.left == 0:
            self.ended = True
        return got
