"""A data folder belongs to one running emulator at a time."""

import fcntl
import os
from pathlib import Path


class FolderInUseError(RuntimeError):
    """Another running emulator has the data folder."""


class FolderLock:
    """Held from `take` to `release`, or to the death of the process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "in-use.lock"
        self._handle: int | None = None

    def take(self) -> None:
        """Raises FolderInUseError when another process holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise FolderInUseError(f"{self._path.parent} is in use by another emulator") from error
        self._handle = handle

    def release(self) -> None:
        """Give it back; safe to repeat."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
