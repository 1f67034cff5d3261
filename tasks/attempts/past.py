"""The facts of a job's earlier processes that do not depend on the records in its bucket.

Records can vanish: a lifecycle rule, a person who tidies, another bucket. The run's states and
labels at Prefect tell all the same that something may have been sent, and what it became.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import get_client

from pro_video.core.job_names import MOST_ATTEMPTS, fact_label

_BUCKET = fact_label("bucket")


@dataclass
class Past:
    """The facts in a job's run at Prefect; filled in when the job begins.

    Attributes:
        starts: how many processes have begun with the job, this one included.
        began_at: when this process did, on the monotonic clock.
        labels: of the job's flow run.
        sent: references of the attempts that this process was about to send.
    """

    starts: int = 1
    began_at: float = 0.0
    labels: Mapping[str, Any] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)

    def provider_job(self, step: str, attempt: int) -> str | None:
        """The provider's job of the last attempt of a step that is known to have been accepted,
        when it is this attempt or a later one."""
        for number in range(MOST_ATTEMPTS, attempt - 1, -1):
            found = self.labels.get(attempt_label(step, number))
            if isinstance(found, str) and found:
                return found
        return None


def attempt_label(step: str, attempt: int) -> str:
    """The label of a job's flow run that names the provider's job of one attempt; the steps show
    it as a fact."""
    return fact_label(f"{step}-{attempt}")


async def read_labels(job_id: str) -> Mapping[str, Any]:
    """The labels of a job's flow run, as they are now.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    async with get_client() as client:
        return (await client.read_flow_run(UUID(job_id))).labels


async def remembered_place(job_id: str, labels: Mapping[str, Any], place: str) -> str:
    """The bucket that the job began in: ``place``, from now on, when it has none yet.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    known = labels.get(_BUCKET)
    if isinstance(known, str) and known:
        return known
    async with get_client() as client:
        await client.update_flow_run_labels(UUID(job_id), {_BUCKET: place})
    return place
