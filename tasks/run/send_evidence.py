"""Evidence of sends by a job's earlier processes that does not depend on the records in its bucket.

Records can vanish: by a lifecycle rule, by a person who tidies, by a change of the bucket. The
states and labels of the run at Prefect still tell whether a request may have been sent, and which
provider's job it became.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pro_video.core.job_names import MOST_ATTEMPTS, attempt_label
from pro_video.core.progress import Stage


@dataclass
class SendEvidence:
    """The evidence about one job; filled in when the job begins.

    Attributes:
        starts: number of processes that have begun with the job, this one included.
        began_at: begin of this process on the monotonic clock.
        labels: labels of the job's flow run.
        sent: references of the attempts that this process was about to send.
        parked_in: the stages in which the job has been parked, after a send.
    """

    starts: int = 1
    began_at: float = 0.0
    labels: Mapping[str, Any] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    parked_in: frozenset[Stage] = frozenset()

    def is_unnamed(self, step: str, stage: Stage) -> bool:
        """Has the job waited for a provider's job in a step of which no label names any?"""
        return stage in self.parked_in and self.provider_job(step, 1) is None

    def provider_job(self, step: str, attempt: int) -> str | None:
        """The provider's job of the step's last accepted attempt, when that is this attempt or a
        later one."""
        for number in range(MOST_ATTEMPTS, attempt - 1, -1):
            found = self.labels.get(attempt_label(step, number))
            if isinstance(found, str) and found:
                return found
        return None
