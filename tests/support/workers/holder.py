"""Another process with an identity, which does nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOOT = "boot"
"""The boot of the machine in the identities of tests."""

_HOLDER = """
import sys
from pathlib import Path
from deployments.worker.process_identity import ProcessIdentity
print(ProcessIdentity(Path(sys.argv[1]), sys.argv[2]).place, flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[str]:
    """A process that is killed at the end of the block; its place.

    Args:
        folder: of its lock file.
    """
    command = [sys.executable, "-c", _HOLDER, str(folder), BOOT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()
