"""The buckets of jobs and records are tried out before jobs rely on them, once in a process."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING

from pro_video.core.errors import TransientError
from pro_video.s3.storage import Storage
from tasks.connections.bucket import BucketDocument, read_bucket, storage_of

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger("prefect.pro_video.store_proof")

RECORDS = "results"
"""Folder of the jobs' own records, see :meth:`pro_video.core.job_names.JobKeys.record`."""

_proven: set[tuple[str, str]] = set()


async def prove_stores(client: PrefectClient, name: str) -> None:
    """Try out the bucket of the jobs and that of Prefect's records, as the blocks name them.

    Raises:
        StorageRefused: a block is missing, or its bucket lacks what jobs rely on; naming it all.
        TransientError: S3 does not answer.
        httpx.HTTPError: Prefect does not answer.
    """
    await prove_document(await read_bucket(client, name), RECORDS)
    results = await read_bucket(client, f"{name}-results")
    await prove_document(results, str(results.content.get("bucket_folder") or ""))


async def prove_document(bucket: BucketDocument, folder: str) -> None:
    """Try out one bucket in the folder where its records go.

    Raises:
        StorageRefused, TransientError: as :func:`prove_stores`.
    """
    await prove(await asyncio.to_thread(storage_of, bucket), folder)


async def prove(storage: Storage, folder: str = RECORDS) -> None:
    """Try out a bucket, unless this process has done so.

    Raises:
        StorageRefused, TransientError: as :func:`prove_stores`.
    """
    if (storage.place, folder) in _proven:
        return
    await storage.prove(f"{folder}/pro-video-check-{uuid.uuid4().hex}".lstrip("/"))
    _proven.add((storage.place, folder))


async def prove_when_reachable(storage: Storage) -> None:
    """Try out a job's bucket; one that does not answer is tried by the next job.

    Raises:
        StorageRefused: it lacks what jobs rely on.
    """
    try:
        await prove(storage)
    except TransientError as error:
        # The job's own calls will say so, and have their own patience.
        logger.info("Could not try out %s: %s", storage.place, error.message)
