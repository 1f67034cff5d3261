"""From a source of parts into an object, a few parts at a time, each held in memory once."""

from __future__ import annotations

import queue
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pro_video.core.errors import SourceRefused
from pro_video.core.file_types import HEAD_BYTES
from pro_video.net.gate import Connection
from pro_video.net.threads import supervise, supervised
from pro_video.s3.errors import translated
from pro_video.s3.objects import StoredObject, Target
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.multipart import MultipartUpload, Part, checked
from pro_video.s3.transfers.small_objects import put_object
from pro_video.s3.transfers.transfer import Transfer


@dataclass(slots=True)
class PartWorker:
    """The state of one thread of a transfer between parts: a buffer and a connection."""

    data: bytearray = field(default_factory=bytearray)
    connection: Connection | None = None


class PartSource(Protocol):
    """The source of the bytes. ``next_part`` is called from several threads."""

    @property
    def total(self) -> int | None:
        """Bytes in all; ``None`` while unknown."""

    @property
    def part_size(self) -> int:
        """Bytes of each part but the last."""

    @property
    def ended(self) -> bool:
        """True once the last part was given out."""

    def next_part(self, worker: PartWorker) -> Part | None:
        """The next part, in the worker's buffer; ``None`` after the last."""

    def verify(self) -> None:
        """Called once after the last part: raise when what was read cannot be trusted."""


def upload(transfer: Transfer, source: PartSource) -> StoredObject:
    """Move a source into an object; each thread holds one part in memory.

    Raises:
        SourceRefused: the source is empty, or refused by its own rules.
        TransferInterrupted, StorageUnavailable, StorageRefused: the object was not written.
        DeadlineExceeded, Interrupted: told to end.
    """
    workers = [PartWorker() for _ in range(transfer.tuning.workers)]
    try:
        return _upload(transfer, source, workers)
    finally:
        for worker in workers:
            if worker.connection is not None:
                worker.connection.release()


def _upload(transfer: Transfer, source: PartSource, workers: list[PartWorker]) -> StoredObject:
    target, interrupt = transfer.target, transfer.interrupt
    transfer.report(0, source.total)
    first: Part | None = None
    if callable(target) or source.total is None or source.total <= source.part_size:
        first = supervised(lambda: source.next_part(workers[0]), interrupt)
        if first is None:
            raise SourceRefused("The source is empty. Check the file.", code="empty")
        if callable(target):
            target = target(bytes(first.data[:HEAD_BYTES]))
        if source.ended:
            return _put_whole(transfer, target, source, first.data)
    done = 0
    free: queue.SimpleQueue[PartWorker] = queue.SimpleQueue()

    def moved(size: int) -> None:
        nonlocal done
        done += size
        if size:
            transfer.report(done, source.total)

    with MultipartUpload(target) as multipart:

        def put_first(part: Part) -> int:
            try:
                return multipart.put(part)
            finally:
                free.put(workers[0])

        def put_next() -> int:
            worker = free.get_nowait()
            try:
                part = source.next_part(worker)
                interrupt.check()
                return 0 if part is None else multipart.put(part)
            finally:
                free.put(worker)

        def jobs() -> Iterator[Callable[[], int]]:
            if first is not None:
                yield lambda: put_first(first)
            while not source.ended:
                yield put_next

        for worker in workers if first is None else workers[1:]:
            free.put(worker)
        supervise(jobs(), workers=len(workers), interrupt=interrupt, on_done=moved)
        source.verify()
        interrupt.check()
        return multipart.complete()


def _put_whole(
    transfer: Transfer, target: Target, source: PartSource, data: bytearray
) -> StoredObject:
    source.verify()
    transfer.interrupt.check()
    with translated(f"storing {target.key}"):
        etag = put_object(target, data)
    stored = checked(target, etag, len(data), {crc.encode(zlib.crc32(data))})
    transfer.report(len(data), source.total)
    return stored
