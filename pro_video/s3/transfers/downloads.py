"""From an object into a file or into memory."""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pro_video.core.errors import SourceRefused, StorageUnavailable, TransferInterrupted
from pro_video.core.retrying import Backoff
from pro_video.net.interrupt import Interrupt
from pro_video.s3.errors import STORAGE_ERRORS, is_missing, storage_error
from pro_video.s3.objects import StoredObject
from pro_video.s3.transfers import crc

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1024 * 1024


def download(
    client: S3Client,
    bucket: str,
    obj: StoredObject,
    path: Path,
    *,
    backoff: Backoff,
    interrupt: Interrupt,
) -> None:
    """Write an object to ``path``, which appears only when it is whole; goes on where a cut came.

    Raises:
        SourceRefused: the object changed or is gone, or the path cannot be written.
        TransferInterrupted: other bytes than S3's checksum says.
        StorageUnavailable, StorageRefused: S3.
        DeadlineExceeded, Interrupted: told to end.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            checksum = _copy(client, bucket, obj, out.fileno(), backoff, interrupt)
        known = obj.checksum_crc32
        if known is not None and "-" not in known and known != crc.encode(checksum):
            raise TransferInterrupted(
                f"The bytes received of {obj.key} do not match its checksum. Try again.",
                code="checksum",
            )
        partial.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        partial.unlink(missing_ok=True)


def _unwritable(path: Path, error: Exception) -> SourceRefused:
    return SourceRefused(
        f"The file {path.name!r} cannot be written ({type(error).__name__}).",
        code="file_unwritable",
    )


def _copy(
    client: S3Client,
    bucket: str,
    obj: StoredObject,
    descriptor: int,
    backoff: Backoff,
    interrupt: Interrupt,
) -> int:
    done = checksum = failures = 0
    while done < obj.size:
        interrupt.check()
        try:
            answer = client.get_object(
                Bucket=bucket,
                Key=obj.key,
                IfMatch=obj.etag,
                Range=f"bytes={done}-{obj.size - 1}",
            )
            with answer["Body"] as body:
                if answer["ContentLength"] != obj.size - done:
                    # The whole object in place of its rest must not be appended to its beginning.
                    raise TransferInterrupted(
                        f"S3 ignored the range asked for of {obj.key}. Try again.",
                        code="no_range",
                    )
                while data := body.read(_CHUNK):
                    interrupt.check()
                    checksum = zlib.crc32(data, checksum)
                    done += len(data)
                    failures = 0
                    view = memoryview(data)
                    while view:
                        view = view[os.write(descriptor, view) :]
        except STORAGE_ERRORS as error:
            meaning = storage_error(error, f"reading {obj.key}")
            failures += 1
            if not isinstance(meaning, StorageUnavailable) or failures >= backoff.tries:
                raise meaning from None
            interrupt.pause(backoff.pause(failures))
    return checksum


def read_small(client: S3Client, bucket: str, key: str, limit: int) -> bytes | None:
    """A whole small object, ``None`` when there is none.

    Raises:
        SourceRefused: more than ``limit`` bytes.
        StorageUnavailable, StorageRefused: S3.
    """
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
        with answer["Body"] as body:
            data = body.read(limit + 1) if answer["ContentLength"] <= limit else None
    except STORAGE_ERRORS as error:
        if isinstance(error, ClientError) and is_missing(error):
            return None
        raise storage_error(error, f"reading {key}") from None
    if data is None or len(data) > limit:
        raise SourceRefused(f"{key} has more than {limit} bytes.", code="too_large")
    if len(data) != answer["ContentLength"]:
        raise StorageUnavailable(f"S3 broke off while reading {key}. Try again later.")
    return data
