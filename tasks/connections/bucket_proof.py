"""Tests the buckets of jobs and records before jobs rely on them, once in each process."""

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
    """Test the bucket of the jobs and that of Prefect's records, as the blocks name them.

    Raises:
        StorageRefused: a block is missing, or its bucket lacks what jobs rely on; names all of it.
        TransientError: S3 does not answer.
        httpx.HTTPError: Prefect does not answer.
    """
    await prove_document(await read_bucket(client, name), RECORDS)
    results = await read_bucket(client, f"{name}-results")
    await prove_document(results, results.folder)


async def prove_document(bucket: BucketDocument, folder: str) -> None:
    """Test one bucket in the folder of its records.

    Raises:
        StorageRefused, TransientError: as :func:`prove_stores`.
    """
    await prove(await asyncio.to_thread(storage_of, bucket), folder)


async def prove(storage: Storage, folder: str = RECORDS) -> None:
    """Test a bucket, unless this process has done so.

    Raises:
        StorageRefused, TransientError: as :func:`prove_stores`.
    """
    if (storage.place, folder) in _proven:
        return
    await storage.prove(f"{folder}/pro-video-check-{uuid.uuid4().hex}".lstrip("/"))
    _proven.add((storage.place, folder))


async def prove_when_reachable(storage: Storage) -> None:
    """Test a job's bucket; when it does not answer, the next job tests it.

    Raises:
        StorageRefused: it lacks what jobs rely on.
    """
    try:
        await prove(storage)
    except TransientError as error:
        # The job's own calls repeat and report this.
        logger.info("Could not test %s: %s", storage.place, error.message)
