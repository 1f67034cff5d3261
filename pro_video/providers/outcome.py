"""The three ways in which any provider's job can stand."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """The meaning of a provider's status for a job."""

    RUNNING = "running"
    """Not ended, or not known to have ended."""
    DONE = "done"
    """Ended well."""
    FAILED = "failed"
    """Ended badly; it does not go on by itself."""
