"""A file on this machine as the source of an upload."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

from pro_video.core.errors import SourceRefused
from pro_video.s3.transfers.multipart import Part, part_size_for
from pro_video.s3.transfers.transfer import Transfer
from pro_video.s3.transfers.uploads import PartWorker


class FileSource:
    """Reads a regular file once, in parts, and refuses it when it changes meanwhile.

    Args:
        transfer: the limits.
        path: the file; directories, devices, pipes and sockets are refused without being read.

    Raises:
        SourceRefused: missing, unreadable, not a regular file, empty or too large.
    """

    def __init__(self, transfer: Transfer, path: Path) -> None:
        self._name = path.name
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its writer.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise SourceRefused(
                f"The file {self._name!r} cannot be opened ({type(error).__name__})."
                " Check the path.",
                code="file_unreadable",
            ) from None
        try:
            self._before = os.fstat(self._fd)
            if not stat.S_ISREG(self._before.st_mode):
                raise SourceRefused(
                    f"{self._name!r} is not a regular file. Check the path.", code="file_kind"
                )
            self.total = self._before.st_size
            if self.total == 0:
                raise SourceRefused(
                    f"The file {self._name!r} is empty. Check the file.", code="empty"
                )
            if self.total > transfer.max_bytes:
                raise SourceRefused(
                    f"The file {self._name!r} has {self.total} bytes;"
                    f" at most {transfer.max_bytes} are taken.",
                    code="too_large",
                )
        except BaseException:
            os.close(self._fd)
            raise
        self.part_size = part_size_for(self.total, transfer.tuning.part_size)
        self._lock = threading.Lock()
        self._next = 0

    @property
    def ended(self) -> bool:
        """True once the last part was given out."""
        return self._next >= self.total

    def next_part(self, worker: PartWorker) -> Part | None:
        """Read the next part into the worker's buffer."""
        with self._lock:
            offset = self._next
            if offset >= self.total:
                return None
            size = min(self.part_size, self.total - offset)
            self._next += size
        if len(worker.data) != size:
            worker.data = bytearray(size)
        with memoryview(worker.data) as view:
            got = 0
            while got < size:
                try:
                    count = os.preadv(self._fd, [view[got:]], offset + got)
                except OSError as error:
                    raise SourceRefused(
                        f"The file {self._name!r} cannot be read ({type(error).__name__}).",
                        code="file_unreadable",
                    ) from None
                if count == 0:
                    raise self._changed()
                got += count
        return Part(offset // self.part_size + 1, worker.data)

    def verify(self) -> None:
        """Raise :class:`SourceRefused` when the file was written to since it was opened."""
        now = os.fstat(self._fd)
        if (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise self._changed()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _changed(self) -> SourceRefused:
        return SourceRefused(
            f"The file {self._name!r} changed while it was read. Run again once it is complete.",
            code="source_changed",
        )
