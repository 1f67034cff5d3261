"""Copies within S3, from any bucket that the credentials may read; no byte passes through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from pro_video.core.errors import SourceRefused
from pro_video.core.file_types import HEAD_BYTES
from pro_video.net.threads import supervise
from pro_video.s3.errors import translated
from pro_video.s3.objects import StoredObject, Target, head_object
from pro_video.s3.transfers.multipart import MultipartUpload, checked, part_size_for
from pro_video.s3.transfers.transfer import Transfer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def find_source(client: S3Client, bucket: str, key: str, *, max_bytes: int) -> StoredObject:
    """The object to read.

    Raises:
        SourceRefused: missing, empty or too large.
    """
    source = head_object(client, bucket, key)
    if source is None:
        raise SourceRefused(
            f"There is no object s3://{bucket}/{key}. Check the address.", code="not_found"
        )
    if source.size == 0:
        raise SourceRefused(f"The object s3://{bucket}/{key} is empty.", code="empty")
    if source.size > max_bytes:
        raise SourceRefused(
            f"The object s3://{bucket}/{key} has {source.size} bytes; at most {max_bytes} are"
            " taken.",
            code="too_large",
        )
    return source


def copy(transfer: Transfer, client: S3Client, bucket: str, key: str) -> StoredObject:
    """Copy an object, pinned to its ETag, in parts when it is large.

    An object that is its own target is returned as it is.

    Args:
        transfer: the target and its limits.
        client: reads the source.
        bucket, key: of the source.

    Raises:
        SourceRefused: missing, empty, too large, or changed meanwhile.
        TransferInterrupted: the copy differs; it was removed.
        StorageUnavailable, StorageRefused: S3.
        DeadlineExceeded, Interrupted: told to end.
    """
    source = find_source(client, bucket, key, max_bytes=transfer.max_bytes)
    target = transfer.target
    if callable(target):
        target = target(_read_head(client, bucket, source))
    elif not target.content_type:
        target = replace(target, content_type=source.content_type)
    if (bucket, key) == (target.bucket, target.key):
        return source
    transfer.report(0, source.size)
    if source.size > transfer.tuning.copy_limit:
        etag = _copy_parts(transfer, bucket, source, target)
    else:
        transfer.interrupt.check()
        with translated(f"copying to {target.key}"):
            etag = target.client.copy_object(
                Bucket=target.bucket,
                Key=target.key,
                CopySource={"Bucket": bucket, "Key": key},
                CopySourceIfMatch=source.etag,
                ChecksumAlgorithm="CRC32",
                ContentType=target.content_type,
                MetadataDirective="REPLACE",
            )["CopyObjectResult"]["ETag"]
    # A composite checksum depends on the parts of the source and says nothing about the copy.
    known = source.checksum_crc32
    checksums = {known} if known is not None and "-" not in known else set()
    stored = checked(target, etag, source.size, checksums)
    transfer.report(source.size, source.size)
    return stored


def _read_head(client: S3Client, bucket: str, source: StoredObject) -> bytes:
    """The first bytes of an object, enough to tell its type."""
    with translated(f"reading {source.key}"):
        response = client.get_object(
            Bucket=bucket,
            Key=source.key,
            Range=f"bytes=0-{min(HEAD_BYTES, source.size) - 1}",
            IfMatch=source.etag,
        )
        with closing(response["Body"]) as body:
            return body.read(HEAD_BYTES)


def _copy_parts(transfer: Transfer, bucket: str, source: StoredObject, target: Target) -> str:
    """Copy in parts, side by side; the new object's ETag."""
    step = part_size_for(source.size, transfer.tuning.copy_part_size)
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        transfer.report(done, source.size)

    with MultipartUpload(target) as multipart:

        def job(number: int, first: int) -> Callable[[], int]:
            last = min(first + step, source.size) - 1
            return lambda: multipart.copy(number, (bucket, source.key), source.etag, first, last)

        def jobs() -> Iterator[Callable[[], int]]:
            for number, first in enumerate(range(0, source.size, step), start=1):
                yield job(number, first)

        supervise(
            jobs(), workers=transfer.tuning.workers, interrupt=transfer.interrupt, on_done=moved
        )
        transfer.interrupt.check()
        return multipart.complete().etag
