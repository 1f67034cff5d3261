"""The identity of a worker process, by which another process can prove that it has ended.

A process locks a file (``flock``) that is named after a random token and the boot of its machine.
The kernel releases the lock when the process ends, however it ends, and also holds it over pid
namespaces and containers. A host name and a process id prove nothing: containers share the one, and
each of them counts the other from 1. A file that is missing, because its process is of another
machine, of a container with a folder of its own, or of an earlier boot, proves nothing either.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import socket
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from prefect.settings import get_current_settings

logger = logging.getLogger("prefect.workers.pro_video")

# Files of processes that ended long ago, whose jobs heartbeats have settled.
_KEPT_SECONDS = 7 * 24 * 3600.0
_TOKEN = re.compile(r":([0-9a-f]{32})(?::|\Z)")


class ProcessIdentity:
    """The identity of one process, alive until the process ends.

    Args:
        folder: of the lock files; processes that share it can prove each other's end.
        boot: of this machine, see :func:`boot_id`; when it is empty nothing can be proven.

    Attributes:
        token: 32 hexadecimal digits, of this process alone.
        place: ``host:pid:token``; the host and the process id are for people.
    """

    def __init__(self, folder: Path, boot: str) -> None:
        self.token = uuid4().hex
        self.place = f"{socket.gethostname()}:{os.getpid()}:{self.token}"
        self._folder = folder
        self._boot = boot
        try:
            if not boot:
                raise OSError("the system tells no boot id")
            # Never closed: the lock lives as long as the process.
            self._descriptor = self._lock()
        except OSError as error:
            logger.warning("Jobs of this process are taken up after heartbeats only: %s", error)

    def is_dead(self, token: str) -> bool:
        """Has the process of a token ended for certain? False when that cannot be proven."""
        try:
            with self._path(token).open("rb") as file:
                # Shared, so that no process takes another one's look for a life.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return file.read() == _inode(file.fileno())
        except OSError:
            return False

    def _path(self, token: str) -> Path:
        return self._folder / f"{self._boot}.{token}"

    def _lock(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_old()
        descriptor = os.open(self._path(self.token), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only a file that was locked has this content, and no copy of it.
        os.write(descriptor, _inode(descriptor))
        return descriptor

    def _remove_old(self) -> None:
        for path in self._folder.iterdir():
            # It may be locked, or removed by another process.
            with contextlib.suppress(OSError), path.open("rb") as file:
                if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()


def _inode(descriptor: int) -> bytes:
    return str(os.fstat(descriptor).st_ino).encode()


def boot_id() -> str:
    """The id of this boot of the machine, from Linux or macOS; empty elsewhere."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return ""


@lru_cache(maxsize=1)
def this_process() -> ProcessIdentity:
    """The identity of this process; its lock file is in Prefect's home."""
    return ProcessIdentity(get_current_settings().home / "pro-video-workers", boot_id())


def token_in(text: str | None) -> str | None:
    """The token of the process that a text names, as ``infrastructure_pid`` does; None without."""
    found = _TOKEN.search(text or "")
    return found[1] if found else None
