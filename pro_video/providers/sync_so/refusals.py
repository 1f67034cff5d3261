"""Refused reads of a generation: transient for ten minutes, terminal after that.

An edge server may refuse anything, and a read may lag behind its create.
"""

from __future__ import annotations

from typing import Final

from pro_video.core.clock import Clock
from pro_video.core.errors import ProVideoError, ProviderRefused, ServiceUnavailable

REFUSED_FOR: Final = 600.0
"""Seconds for which a refused read says nothing about the job."""


class Refusals:
    """The time for which reads of each job have been refused.

    Args:
        clock: source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def met(self, job_id: str, error: ProviderRefused) -> ProVideoError:
        """The error of a refused read: a transient one at first, then ``error`` itself."""
        now = self._clock.monotonic()
        if now - self._since.setdefault(job_id, now) >= REFUSED_FOR:
            return error
        return ServiceUnavailable(
            f"{error.message.rstrip('.')}. The job is looked at again.",
            provider=error.provider,
            code=error.code,
            request_id=error.request_id,
        )

    def over(self, job_id: str) -> None:
        """A read succeeded."""
        self._since.pop(job_id, None)
