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
from pro_video.net.interrupt import Interrupt
from pro_video.net.threads import supervise, supervised
from pro_video.s3.errors import translated
from pro_video.s3.objects import StoredObject
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.multipart import MultipartUpload, Part, Target, checked, put_object

Placing = Callable[[bytes], Target]
"""The target of a file, by its first bytes (`kinds.HEAD_BYTES` or the whole)."""

OnProgress = Callable[[int, int | None], None]
"""(bytes stored, bytes in all or None while unknown); called from a thread, never backwards."""


@dataclass(slots=True)
class Lane:
    """The state of one thread of a transfer between parts: a buffer and a connection."""

    data: bytearray = field(default_factory=bytearray)
    connection: Connection | None = None


class Source(Protocol):
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

    def next_part(self, lane: Lane) -> Part | None:
        """The next piece, in the lane's buffer; ``None`` behind the last."""

    def verify(self) -> None:
        """Called once after the last part: raise when what was read cannot be trusted."""


def upload(
    target: Target | Placing,
    source: Source,
    *,
    workers: int,
    interrupt: Interrupt,
    on_progress: OnProgress | None = None,
) -> StoredObject:
    """Move a source into an object with ``workers`` threads, each holding one part in memory.

    Its first bytes may decide where to.

    Raises:
        SourceRefused: the source is empty, or what its own rules say.
        TransferInterrupted, StorageUnavailable, StorageRefused: the object was not written.
        DeadlineExceeded, Interrupted: told to end.
    """
    lanes = [Lane() for _ in range(workers)]
    try:
        return _upload(target, source, lanes, interrupt, on_progress or _quiet)
    finally:
        for lane in lanes:
            if lane.connection is not None:
                lane.connection.release()


def _quiet(done: int, total: int | None) -> None:
    return


def _upload(
    target: Target | Placing,
    source: Source,
    lanes: list[Lane],
    interrupt: Interrupt,
    on_progress: OnProgress,
) -> StoredObject:
    on_progress(0, source.total)
    first: Part | None = None
    if callable(target) or source.total is None or source.total <= source.part_size:
        first = supervised(lambda: source.next_part(lanes[0]), interrupt)
        if first is None:
            raise SourceRefused("The source is empty. Check the file.", code="empty")
        if callable(target):
            target = target(bytes(first.data[:HEAD_BYTES]))
        if source.ended:
            return _put_whole(target, source, first.data, interrupt, on_progress)
    done = 0
    free: queue.SimpleQueue[Lane] = queue.SimpleQueue()

    def moved(size: int) -> None:
        nonlocal done
        done += size
        if size:
            on_progress(done, source.total)

    with MultipartUpload(target) as multipart:

        def move() -> int:
            lane = free.get_nowait()
            try:
                part = source.next_part(lane)
                interrupt.check()
                return 0 if part is None else multipart.put(part)
            finally:
                free.put(lane)

        def jobs() -> Iterator[Callable[[], int]]:
            if first is not None:
                yield lambda: _put_first(multipart, first, lanes[0], free)
            while not source.ended:
                yield move

        for lane in lanes if first is None else lanes[1:]:
            free.put(lane)
        supervise(jobs(), workers=len(lanes), interrupt=interrupt, on_done=moved)
        source.verify()
        interrupt.check()
        return multipart.complete()


def _put_first(
    multipart: MultipartUpload, part: Part, lane: Lane, free: queue.SimpleQueue[Lane]
) -> int:
    try:
        return multipart.put(part)
    finally:
        free.put(lane)


def _put_whole(
    target: Target,
    source: Source,
    data: bytearray,
    interrupt: Interrupt,
    on_progress: OnProgress,
) -> StoredObject:
    source.verify()
    interrupt.check()
    with translated(f"storing {target.key}"):
        etag = put_object(target, data)
    stored = checked(target, etag, len(data), {crc.encode(zlib.crc32(data))})
    on_progress(len(data), source.total)
    return stored
