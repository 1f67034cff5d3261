"""Bytes on disk: one file per stored body, under a random name.

A key never becomes part of a path, so any key is safe and `a` and `a/b` coexist. A body is
written under tmp/ and moved under blobs/ when it is whole; the database then says whether it
belongs to anything. Remains of a killed process are removed at the next start.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.s3.verification.checksums import Hasher

COPY_BYTES = 1024 * 1024


class Blobs:
    """The folder of bodies."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._tmp = root / "tmp"
        for folder in (self._blobs, self._tmp):
            folder.mkdir(parents=True, exist_ok=True)

    def stage(self) -> Staged:
        """A new body to write; use it as a context manager, it vanishes unless kept."""
        return Staged(self._tmp / secrets.token_hex(16), self)

    def path(self, name: str) -> Path:
        return self._blobs / name[:2] / name

    def adopt(self, staged: Path) -> str:
        target = self.path(staged.name)
        target.parent.mkdir(exist_ok=True)
        staged.rename(target)
        return staged.name

    def share(self, name: str) -> str | None:
        """A second name for a body without a copy; None where the file system cannot do that."""
        second = secrets.token_hex(16)
        path = self.path(second)
        path.parent.mkdir(exist_ok=True)
        try:
            path.hardlink_to(self.path(name))
        except OSError:
            return None
        return second

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def sweep(self, wanted: set[str]) -> int:
        """Removes what no record names; only before requests are served. Returns the count."""
        strays = [*self._tmp.iterdir()]
        strays += [path for path in self._blobs.glob("*/*") if path.name not in wanted]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)


class Staged:
    """A body that is being written."""

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self._path = path
        self._blobs = blobs
        self._file = path.open("xb", buffering=0)
        self.kept: str | None = None

    def write(self, data: memoryview) -> None:
        while len(data):
            data = data[self._file.write(data) :]

    def append_file(self, path: Path, offset: int, count: int, hashers: Sequence[Hasher]) -> None:
        """Appends a range of another body and feeds it to the hashers."""
        scratch = memoryview(bytearray(COPY_BYTES))
        with path.open("rb", buffering=0) as source:
            source.seek(offset)
            while count > 0:
                read = source.readinto(scratch[: min(count, COPY_BYTES)])
                if not read:
                    raise OSError("a stored body is shorter than its record")
                for hasher in hashers:
                    hasher.update(scratch[:read])
                self.write(scratch[:read])
                count -= read

    def keep(self) -> str:
        """Moves the body to its place and returns its name."""
        self._file.close()
        self.kept = self._blobs.adopt(self._path)
        return self.kept

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drops a body that was not kept, and one that was kept for an action that failed."""
        self._file.close()
        if self.kept is None:
            with suppress(FileNotFoundError):
                self._path.unlink()
        elif kind is not None:
            self._blobs.remove([self.kept])
