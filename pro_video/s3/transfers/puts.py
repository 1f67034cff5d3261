"""Small objects: one PUT, on request only where there is nothing yet."""

from __future__ import annotations

import time
import zlib

from botocore.exceptions import ClientError

from pro_video.core.retrying import Backoff
from pro_video.s3.errors import STORAGE_ERRORS, error_code, storage_error
from pro_video.s3.objects import head_object
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.multipart import Target, put_object


def put_small(target: Target, data: bytes, *, if_absent: bool, backoff: Backoff) -> bool:
    """Store ``data``; ``False`` when ``if_absent`` and the key was taken.

    Two answers need care. 409 (``ConditionalRequestConflict``) means that another write was under
    way: ask again. 412 after boto3 had repeated the request may speak of our own first copy, whose
    answer was lost: then the stored bytes decide.

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
