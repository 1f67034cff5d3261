"""Small objects: one PUT, on request only where there is nothing yet, or one GET."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from pro_video.core.errors import SourceRefused, StorageUnavailable
from pro_video.core.retrying import Backoff
from pro_video.s3.errors import STORAGE_ERRORS, error_code, is_missing, storage_error
from pro_video.s3.objects import Target, head_object
from pro_video.s3.transfers import crc

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectRequestTypeDef


def put_object(target: Target, data: bytes | bytearray, *, if_absent: bool = False) -> str:
    """One PUT with its CRC32; returns the ETag. boto3's exceptions pass."""
    request: PutObjectRequestTypeDef = {
        "Bucket": target.bucket,
        "Key": target.key,
        "Body": cast("bytes", data),
        "ContentType": target.content_type,
        "ChecksumCRC32": crc.encode(zlib.crc32(data)),
    }
    if if_absent:
        request["IfNoneMatch"] = "*"
    return target.client.put_object(**request)["ETag"]


def put_small(target: Target, data: bytes, *, if_absent: bool, backoff: Backoff) -> bool:
    """Store ``data``; ``False`` when ``if_absent`` and the key was taken.

    409 (``ConditionalRequestConflict``) means that another write was under way; the write is
    repeated. 412 after a repetition by boto3 may speak of our own first write, whose response was
    lost; then the stored bytes decide.

    Raises:
        StorageUnavailable, StorageRefused: S3.
    """
    for failures in range(1, backoff.tries + 1):
        try:
            put_object(target, data, if_absent=if_absent)
        except STORAGE_ERRORS as error:
            code = error_code(error) if isinstance(error, ClientError) else ""
            if (
                if_absent
                and isinstance(error, ClientError)
                and code in ("PreconditionFailed", "412")
            ):
                repeated = error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                return repeated and _is_ours(target, data)
            if code != "ConditionalRequestConflict" or failures == backoff.tries:
                raise storage_error(error, f"storing {target.key}") from None
            time.sleep(backoff.pause(failures))
        else:
            return True
    raise AssertionError("the last try returns or raises")


def _is_ours(target: Target, data: bytes) -> bool:
    stored = head_object(target.client, target.bucket, target.key)
    return (
        stored is not None
        and stored.size == len(data)
        and stored.checksum_crc32 == crc.encode(zlib.crc32(data))
    )


def read_small(client: S3Client, bucket: str, key: str, limit: int) -> bytes | None:
    """A whole small object; ``None`` when there is none.

    Raises:
        SourceRefused: more than ``limit`` bytes.
        StorageUnavailable, StorageRefused: S3.
    """
    try:
        response = client.get_object(Bucket=bucket, Key=key)
        with response["Body"] as body:
            data = body.read(limit + 1) if response["ContentLength"] <= limit else None
    except STORAGE_ERRORS as error:
        if isinstance(error, ClientError) and is_missing(error):
            return None
        raise storage_error(error, f"reading {key}") from None
    if data is None or len(data) > limit:
        raise SourceRefused(f"{key} has more than {limit} bytes.", code="too_large")
    if len(data) != response["ContentLength"]:
        raise StorageUnavailable(f"S3 broke off while reading {key}. Try again later.")
    return data
