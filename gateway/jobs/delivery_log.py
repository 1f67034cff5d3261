"""The delivery log: a job's webhook messages, and all tries of each."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter
from pydantic import ValidationError

from gateway.auth.authenticate import Owner
from gateway.base.problems import problem_responses
from gateway.base.services import service
from gateway.bucket.bucket import Bucket
from gateway.bucket.objects import in_thread, list_objects
from gateway.jobs.job_status import JobId, JobRuns
from gateway.jobs.views import View
from pro_video.s3.storage import Storage
from pro_video.webhooks.records import Delivery, deliveries_prefix

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_MOST = 200
_AT_ONCE = 8


class DeliveryLog(View):
    """All messages of a job."""

    deliveries: list[Delivery]


@router.get(
    "/{job_id}/webhooks",
    summary="Webhook deliveries of a job",
    responses=problem_responses(401, 403, 404, 422, 429, 503),
)
async def read_log(
    job_id: JobId, owner: Owner, runs: JobRuns, bucket: Annotated[Bucket, service(Bucket)]
) -> DeliveryLog:
    """Each message with every try: its time, its duration, and the receiver's response."""
    await runs.of_owner(owner, job_id)
    storage = await bucket.storage()
    prefix = deliveries_prefix(str(job_id))

    def keys() -> list[str]:
        return [found.key for found in list_objects(storage, prefix)][:_MOST]

    return DeliveryLog(deliveries=await deliveries(storage, await in_thread(keys)))


async def deliveries(storage: Storage, keys: list[str]) -> list[Delivery]:
    """The deliveries with the given keys, in the order of their events.

    Raises:
        ProVideoError: the bucket did not give them.
    """
    free = asyncio.Semaphore(_AT_ONCE)

    async def read(key: str) -> Delivery | None:
        async with free:
            raw = await storage.get_bytes(key)
        try:
            return None if raw is None else Delivery.model_validate_json(raw)
        except ValidationError:
            # A foreign object, or a record of another version.
            return None

    found = await asyncio.gather(*(read(key) for key in keys))
    return sorted((one for one in found if one is not None), key=lambda one: one.timestamp)
