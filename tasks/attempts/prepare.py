"""Stores the exact bytes of a paid request before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pro_video.core.checkpoints import reach
from pro_video.core.job_names import attempt_reference
from pro_video.records import Prepared
from pro_video.s3.storage import Storage
from tasks.run.job import Job


@dataclass(frozen=True)
class PaidRequest:
    """A request to a provider: the exact bytes, its probable duration in seconds, and an estimate
    of its price."""

    body: bytes
    expected_seconds: float
    cost_usd: Decimal | None = None


async def is_kept(job: Job, storage: Storage, prepared: Prepared) -> bool:
    """Is the request of an attempt still in the bucket? Looked up only when an earlier process may
    have kept it.

    The record of the preparation may outlive the request. The attempt is then prepared anew, under
    the same reference, and looked for at its provider before it is sent.
    """
    return job.evidence.starts <= 1 or await storage.head(prepared.body_key) is not None


async def keep_request(
    job: Job, storage: Storage, step: str, attempt: int, request: PaidRequest
) -> Prepared:
    """Write the request of an attempt once: a second writer keeps the first one's bytes.

    The body holds signed links, so it is an object of its own, which no state, log or result shows.
    """
    key = job.keys.record(f"{step}-{attempt}-request")
    reach("prepare.before-persist", step)
    await storage.put_bytes(key, request.body, content_type="application/json", if_absent=True)
    reach("prepare.persisted", step)
    return Prepared(
        attempt=attempt,
        reference=attempt_reference(job.job_id, step, attempt),
        body_key=key,
        prepared_at=job.now(),
        expected_seconds=request.expected_seconds,
        cost_usd=request.cost_usd,
    )
