"""Bytes on disk: one file per stored body, under a random name.

A key never becomes part of a path, so any key is safe and `a` and `a/b` coexist. A body is
written under incoming/ and moved under bodies/ when it is whole; the records then say whether it
belongs to anything. Remains of a killed process are removed at the next start.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from sandbox.s3.verification.checksums import Digests

COPY_BYTES = 1024 * 1024


class Blobs:
    """The folder of bodies. Everything but the writing itself belongs to the event loop."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "bodies"
        self._incoming = root / "incoming"
        for folder in (self._blobs, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        self._readers: Counter[str] = Counter()
        self._condemned: set[str] = set()
        self._doomed: list[Path] = []

    def stage(self) -> Staged:
        """A new body to write; use it as a context manager, it vanishes unless kept."""
        return Staged(self._incoming / secrets.token_hex(16), self)

    def path(self, name: str) -> Path:
        """The path of a body."""
        return self._blobs / name[:2] / name

    def adopt(self, staged: Path) -> str:
        """Moves a whole body to its place and returns its name."""
        target = self.path(staged.name)
        target.parent.mkdir(exist_ok=True)
        staged.rename(target)
        return staged.name

    def pin(self, names: Sequence[str]) -> None:
        """Keeps bodies on disk until `unpin`, whatever becomes of their object."""
        self._readers.update(names)

    def unpin(self, names: Sequence[str]) -> None:
        """Ends a `pin` of these bodies."""
        self._readers.subtract(names)
        self._readers = +self._readers
        self.discard(self._condemned.intersection(names))

    def discard(self, names: Iterable[str]) -> None:
        """Gives bodies up that belong to nothing any more; `collect` removes them."""
        for name in names:
            if name in self._readers:
                self._condemned.add(name)
            else:
                self._condemned.discard(name)
                self._doomed.append(self.path(name))

    def give_up(self, staged: Path) -> None:
        """Gives a body up that did not become whole."""
        self._doomed.append(staged)

    async def collect(self) -> None:
        """Removes what was given up; large files take the file system a while."""
        doomed, self._doomed = self._doomed, []
        if doomed:
            await asyncio.to_thread(_remove, doomed)

    def sweep(self, wanted: set[str]) -> None:
        """Removes what no record names; only before requests are served."""
        _remove(self._incoming.iterdir())
        _remove(path for path in self._blobs.glob("*/*") if path.name not in wanted)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


class Staged:
    """A body that is being written."""

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self._path = path
        self._blobs = blobs
        self._file = path.open("xb", buffering=0)
        self._kept: str | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Appends all of the data; blocks."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def append_file(self, path: Path, offset: int, count: int, digests: Digests) -> None:
        """Appends a range of another body and feeds it to the digests; blocks."""
        scratch = memoryview(bytearray(COPY_BYTES))
        with path.open("rb", buffering=0) as source:
            source.seek(offset)
            while count > 0:
                read = source.readinto(scratch[: min(count, COPY_BYTES)])
                if not read:
                    raise OSError("a stored body is shorter than its record")
                digests.update(scratch[:read])
                self.write(scratch[:read])
                count -= read

    def keep(self) -> str:
        """Moves the body to its place and returns its name."""
        self._file.close()
        self._kept = self._blobs.adopt(self._path)
        return self._kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Gives up a body that was not kept, and one that was kept for an action that failed."""
        self._file.close()
        if self._kept is None:
            self._blobs.give_up(self._path)
        elif kind is not None:
            self._blobs.discard([self._kept])
