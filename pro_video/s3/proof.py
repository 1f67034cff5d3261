"""Tests the properties of a bucket that jobs rely on, with a dozen requests on temporary objects.

Some S3 servers ignore conditions, show writes late, keep no checksums, or only pretend to abort.
There a job could be paid twice or take a part of a file for the whole.
"""

from __future__ import annotations

import logging
import zlib
from typing import Final

from botocore.exceptions import ClientError

from pro_video.core.errors import StorageRefused, TransferInterrupted
from pro_video.s3.errors import STORAGE_ERRORS, error_code, storage_error, translated
from pro_video.s3.objects import Target, head_object
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.multipart import MultipartUpload, Part
from pro_video.s3.transfers.small_objects import put_object, read_small

logger = logging.getLogger(__name__)

_REFUSED: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501", "InvalidArgument", "InvalidRequest"})
_LIMIT: Final = 100

NO_CONDITIONS: Final = "a write with If-None-Match: * replaces what is there"
NO_READ_AFTER_WRITE: Final = "an object is not read as it was just written"
NO_CHECKSUM: Final = "no CRC32 of an object is kept"
NO_ABORT: Final = "an aborted multipart upload takes further parts"


def prove(target: Target, place: str) -> None:
    """Test a bucket.

    Args:
        target: an unused key; the same key with ``-parts`` is used too.
        place: names the bucket in messages.

    Raises:
        StorageRefused: names every missing property; or S3 refuses a request of the test.
        StorageUnavailable: S3 does not answer.
    """
    try:
        missing = [*_conditions(target), *_reads(target), *_parts(target)]
    finally:
        _remove(target)
    if missing:
        raise StorageRefused(
            f"{place} cannot keep jobs: {'; '.join(missing)}. A job could be paid twice or lose "
            "its result there. Use a bucket of an S3 server that does this as AWS does.",
            code="store_unfit",
        )


def _conditions(target: Target) -> list[str]:
    if _put(target, b"first") in _UNKNOWN:
        return [NO_CONDITIONS]
    # Twice: a server with a cache may refuse the first write only.
    if any(_put(target, b"second") not in _REFUSED for _ in range(2)):
        return [NO_CONDITIONS]
    kept = read_small(target.client, target.bucket, target.key, _LIMIT)
    return [] if kept == b"first" else [NO_READ_AFTER_WRITE if kept is None else NO_CONDITIONS]


def _put(target: Target, data: bytes) -> str:
    """Write if the key is free; S3's error code, or '' when it wrote."""
    try:
        put_object(target, data, if_absent=True)
    except STORAGE_ERRORS as error:
        code = error_code(error) if isinstance(error, ClientError) else ""
        if code in _REFUSED | _UNKNOWN:
            return code
        raise storage_error(error, f"testing the bucket {target.bucket}") from None
    return ""


def _reads(target: Target) -> list[str]:
    data = b"written over"
    with translated(f"testing the bucket {target.bucket}"):
        put_object(target, data)
    if read_small(target.client, target.bucket, target.key, _LIMIT) != data:
        return [NO_READ_AFTER_WRITE]
    found = head_object(target.client, target.bucket, target.key)
    if found is None or found.size != len(data):
        return [NO_READ_AFTER_WRITE]
    return [] if found.checksum_crc32 == crc.encode(zlib.crc32(data)) else [NO_CHECKSUM]


def _parts(target: Target) -> list[str]:
    other = Target(target.client, target.bucket, f"{target.key}-parts", target.content_type)
    part = Part(1, bytearray(b"a part"))
    with MultipartUpload(other) as upload:
        upload.put(part)
    try:
        upload.put(part)
    except TransferInterrupted as error:
        if error.code == "NoSuchUpload":
            return []
        raise
    return [NO_ABORT]


def _remove(target: Target) -> None:
    try:
        target.client.delete_object(Bucket=target.bucket, Key=target.key)
    except STORAGE_ERRORS as error:
        # The result of the test stands; the object has a few bytes.
        logger.warning("Could not remove %s (%s)", target.key, type(error).__name__)
