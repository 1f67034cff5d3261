"""The three statuses of any provider's job."""

from __future__ import annotations

from enum import Enum


class JobStatus(Enum):
    """The meaning of a vendor's status for a job."""

    RUNNING = "running"
    """Not ended, or not known to have ended."""
    DONE = "done"
    """Ended well."""
    FAILED = "failed"
    """Ended badly; it does not go on by itself."""
