"""Listing and removal of objects and of unfinished multipart uploads, in threads of the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from pro_video.core.errors import ProVideoError
from pro_video.s3.errors import translated
from pro_video.s3.listing import Listed
from pro_video.s3.storage import Storage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import MultipartUploadTypeDef, PartTypeDef

logger = logging.getLogger("pro_video.gateway.bucket")

_REMOVE_SECONDS = 60.0
# Apart from asyncio's own threads, in which names of hosts are looked up.
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="gateway")

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def client_of(storage: Storage) -> S3Client:
    """The boto3 client of a storage."""
    return storage.target("", "").client


def list_objects(storage: Storage, prefix: str) -> Iterator[Listed]:
    """All objects below a prefix; blocking, page by page."""
    return storage.listed(prefix)


def list_parts(storage: Storage, key: str, upload_id: str) -> Iterator[PartTypeDef]:
    """The parts of an unfinished multipart upload; blocking, page by page."""
    pages = client_of(storage).get_paginator("list_parts")
    for page in pages.paginate(Bucket=storage.bucket, Key=key, UploadId=upload_id):
        yield from page.get("Parts", [])


def list_unfinished(storage: Storage, prefix: str) -> Iterator[Listed]:
    """The unfinished multipart uploads below a prefix; blocking, page by page."""
    for upload in _unfinished(storage, prefix):
        with translated(f"listing the parts of {upload['Key']}"):
            parts = list(list_parts(storage, upload["Key"], upload["UploadId"]))
        last = max((part["LastModified"] for part in parts), default=upload["Initiated"])
        yield Listed(upload["Key"], sum(part["Size"] for part in parts), last)


def abort_uploads(storage: Storage, prefix: str, *, before: datetime | None = None) -> None:
    """Abort the unfinished multipart uploads below a prefix, all or those begun before a time;
    blocking."""
    client = client_of(storage)
    for upload in _unfinished(storage, prefix):
        if before is None or upload["Initiated"] < before:
            with translated(f"aborting the upload of {upload['Key']}"):
                client.abort_multipart_upload(
                    Bucket=storage.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )


def _unfinished(storage: Storage, prefix: str) -> Iterator[MultipartUploadTypeDef]:
    with translated(f"listing unfinished uploads of {prefix}"):
        pages = client_of(storage).get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=storage.bucket, Prefix=prefix):
            yield from page.get("Uploads", [])


async def remove_all(storage: Storage, prefix: str, *, seconds: float = _REMOVE_SECONDS) -> bool:
    """Abort the unfinished uploads and delete the objects below a prefix.

    The removal goes on when its caller is cancelled, and after the time that the caller waits.

    Returns:
        Whether it was done within ``seconds``.
    """

    def remove() -> None:
        abort_uploads(storage, prefix)
        for found in list(list_objects(storage, prefix)):
            with translated(f"removing {found.key}"):
                client_of(storage).delete_object(Bucket=storage.bucket, Key=found.key)

    removal = asyncio.ensure_future(in_thread(remove))
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(removal)
    except (ProVideoError, TimeoutError) as error:
        logger.warning("Could not remove %s yet: %s", prefix, type(error).__name__)
        removal.add_done_callback(lambda done: done.cancelled() or done.exception())
        return False
    return True
