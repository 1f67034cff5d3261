"""Files behind a URL as sources of an upload: read in pinned ranges, or in one stream."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass

from pro_video.core.errors import ProVideoError, SourceRefused, TransferInterrupted, TransientError
from pro_video.net.gate import Connection, Gate, Origin, connection_error
from pro_video.s3.transfers.http_responses import (
    content_range,
    refusal,
    refuse_encoded,
    source_changed,
    strong_etag,
)
from pro_video.s3.transfers.multipart import Part, part_size_for
from pro_video.s3.transfers.transfer import Transfer
from pro_video.s3.transfers.uploads import PartWorker

_SLICE = 256 * 1024
"""Bytes per read: the grain of progress inside a part, and of checks of the interrupt."""

BROKEN = (OSError, http.client.HTTPException)
"""Exceptions of a connection that failed."""


class CannotResume(TransferInterrupted):
    """One stream broke; another start may succeed."""


def check_size(transfer: Transfer, total: int, label: str) -> None:
    """Compare a size that the source states with the transfer's limits.

    Raises:
        SourceRefused: larger than allowed.
        TransferInterrupted: another size than expected.
    """
    if total > transfer.max_bytes:
        raise SourceRefused(
            f"The source {label} has more than the {transfer.max_bytes} bytes that are taken.",
            code="too_large",
        )
    expected = transfer.expected_size
    if expected is not None and total != expected:
        raise TransferInterrupted(
            f"The source {label} has {total} bytes instead of {expected}. Try again.",
            code="wrong_size",
        )


def transient(error: BaseException, host: str) -> TransientError:
    """The transient error of a failure; a terminal one is raised."""
    meaning: BaseException = error
    if isinstance(error, BROKEN):
        meaning = connection_error(error, host)
    if isinstance(meaning, TransferInterrupted):
        return meaning
    raise meaning from None


@dataclass(slots=True)
class Body:
    """The body of an open response; ``left`` bytes may be read, ``None`` for a chunked one."""

    connection: Connection
    response: http.client.HTTPResponse
    left: int | None

    def read_into(self, view: memoryview) -> int:
        """Fill at most one slice of ``view``; 0 at the promised end.

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
    """Parts of a file, each by its own ranged GET, pinned to one ETag.

    Args:
        transfer: limits, pace and interrupt.
        gate: makes further connections.
        origin: the checked address.
        body: of the first response, which begins at byte 0.
        etag: strong entity tag of the file.
        total: bytes in all.
    """

    def __init__(
        self, transfer: Transfer, gate: Gate, origin: Origin, body: Body, *, etag: str, total: int
    ) -> None:
        self.total = total
        self.part_size = part_size_for(total, transfer.tuning.part_size)
        self._transfer = transfer
        self._gate = gate
        self._origin = origin
        self._first: Body | None = body
        self._etag = etag
        self._lock = threading.Lock()
        self._next = 0

    @property
    def ended(self) -> bool:
        """True once the last part was given out."""
        return self._next >= self.total

    def verify(self) -> None:
        """Nothing is left to do: each part had its length and the pinned ETag."""

    def next_part(self, worker: PartWorker) -> Part | None:
        """Read the next part into the worker's buffer over the worker's connection."""
        with self._lock:
            offset = self._next
            if offset >= self.total:
                return None
            size = min(self.part_size, self.total - offset)
            self._next += size
            body, self._first = self._first, None
        if body is not None:
            worker.connection = body.connection
        if len(worker.data) != size:
            worker.data = bytearray(size)
        with memoryview(worker.data) as view:
            self._fill(worker, view, offset, body)
        return Part(offset // self.part_size + 1, worker.data)

    def _fill(self, worker: PartWorker, view: memoryview, offset: int, body: Body | None) -> None:
        interrupt, retries = self._transfer.interrupt, self._transfer.retries()
        got = 0
        while got < len(view):
            interrupt.check()
            try:
                if body is None:
                    body = self._ask(worker, offset + got, offset + len(view) - 1)
                count = body.read_into(view[got:])
            except (*BROKEN, ProVideoError) as error:
                body = None
                if worker.connection is not None:
                    worker.connection.release()
                interrupt.check()
                retries.failed(transient(error, self._origin.host))
                continue
            if count == 0:
                body = None
            else:
                got += count
                if count == _SLICE:
                    retries.progressed()
        if body is not None and body.left and worker.connection is not None:
            worker.connection.release()  # more was sent than asked for: nothing may follow on it

    def _ask(self, worker: PartWorker, first: int, last: int) -> Body:
        if worker.connection is None:
            worker.connection = self._gate.connection(self._origin, self._transfer.interrupt)
        response = worker.connection.get({"Range": f"bytes={first}-{last}", "If-Match": self._etag})
        label = self._origin.label
        if response.status == 416:
            raise source_changed(label)
        if (error := refusal(response, label)) is not None:
            raise error
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
        return Body(worker.connection, response, given.last - given.first + 1)


class StreamSource:
    """A file from one response, front to back. Threads read in turn.

    Args:
        transfer: limits, pace and interrupt.
        label: names the source in messages, without its query.
        body: of the response.
    """

    def __init__(self, transfer: Transfer, label: str, body: Body) -> None:
        self.total = body.left if body.left is not None else transfer.expected_size
        # A source of unknown length may have up to the largest size taken.
        most = transfer.max_bytes if self.total is None else self.total
        self.part_size = part_size_for(most, transfer.tuning.part_size)
        self.ended = False
        self._transfer = transfer
        self._label = label
        self._body = body
        self._lock = threading.Lock()
        self._number = 0
        self._read = 0

    def verify(self) -> None:
        """Compare the bytes read with the size that was promised."""
        check_size(self._transfer, self._read, self._label)

    def next_part(self, worker: PartWorker) -> Part | None:
        """Read on into the worker's buffer, in turn with other threads."""
        with self._lock:
            if self.ended:
                return None
            if len(worker.data) != self.part_size:
                worker.data = bytearray(self.part_size)
            got = self._fill(worker.data)
            if got == 0:
                return None
            del worker.data[got:]
            self._number += 1
            return Part(self._number, worker.data)

    def _fill(self, data: bytearray) -> int:
        interrupt = self._transfer.interrupt
        got = 0
        with memoryview(data) as view:
            while got < len(view):
                interrupt.check()
                try:
                    count = self._body.read_into(view[got:])
                except BROKEN as error:
                    interrupt.check()
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
                if self._read > self._transfer.max_bytes:
                    check_size(self._transfer, self._read, self._label)
        if self._body.left == 0:
            self.ended = True
        return got
