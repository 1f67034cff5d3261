"""Tests the properties of a bucket that jobs rely on, with a dozen requests on temporary objects.

There are S3 servers that accept a condition and do not heed it, show a write later, keep no
checksum, or answer an abort and do nothing. On such a one a job could be paid twice or take half a
file for a whole one.
"""

from __future__ import annotations

import logging
import zlib
from typing import Final

from botocore.exceptions import ClientError

from pro_video.core.errors import StorageRefused, TransferInterrupted
from pro_video.s3.errors import STORAGE_ERRORS, error_code, storage_error, translated
from pro_video.s3.objects import head_object
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.downloads import read_small
from pro_video.s3.transfers.multipart import MultipartUpload, Part, Target, put_object

logger = logging.getLogger(__name__)

_REFUSED: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501", "InvalidArgument", "InvalidRequest"})
_LIMIT: Final = 100

NO_CONDITIONS: Final = "a write with If-None-Match: * replaces what is there"
NO_READ_AFTER_WRITE: Final = "an object is not read as it was just written"
NO_CHECKSUM: Final = "no CRC32 of an object is kept"
NO_ABORT: Final = "an aborted multipart upload takes further parts"


def prove(target: Target, place: str) -> None:
    """Try out a bucket.

    Args:
        target: a key that nobody uses; a second one, with ``-parts`` behind it, is used too.
        place: names the bucket in texts.

    Raises:
        StorageRefused: naming all that the bucket lacks; or S3 says no to the trial itself.
        StorageUnavailable: S3 does not answer.
    """
    try:
        lacks = [*_conditions(target), *_reads(target), *_parts(target)]
    finally:
        _remove(target)
    if lacks:
        raise StorageRefused(
            f"{place} cannot keep jobs: {'; '.join(lacks)}. A job could be paid twice or lose its "
            "result there. Use a bucket of an S3 server that does this as AWS does.",
            code="store_unfit",
        )


def _conditions(target: Target) -> list[str]:
    if _put(target, b"first") in _UNKNOWN:
        return [NO_CONDITIONS]
    # Twice, because a server behind a cache may refuse only what it has not forgotten.
    if any(_put(target, b"second") not in _REFUSED for _ in range(2)):
        return [NO_CONDITIONS]
    kept = read_small(target.client, target.bucket, target.key, _LIMIT)
    return [] if kept == b"first" else [NO_READ_AFTER_WRITE if kept is None else NO_CONDITIONS]


def _put(target: Target, data: bytes) -> str:
    """Write where nothing is; S3's code when it refuses to."""
    try:
        put_object(target, data, if_absent=True)
    except STORAGE_ERRORS as error:
        code = error_code(error) if isinstance(error, ClientError) else ""
        if code in _REFUSED | _UNKNOWN:
            return code
        raise storage_error(error, f"trying the bucket {target.bucket}") from None
    return ""


def _reads(target: Target) -> list[str]:
    data = b"written over"
    with translated(f"trying the bucket {target.bucket}"):
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
        # The outcome of the trial stands; the object that is left has a few bytes.
        logger.warning("Could not remove %s (%s)", target.key, type(error).__name__)
