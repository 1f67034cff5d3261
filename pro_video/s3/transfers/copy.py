"""An object that S3 copies itself, from any bucket that the credentials may read; no byte passes
through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from pro_video.core.errors import SourceRefused
from pro_video.core.file_types import HEAD_BYTES
from pro_video.net.interrupt import Interrupt
from pro_video.net.threads import supervise
from pro_video.s3.errors import translated
from pro_video.s3.objects import StoredObject, head_object
from pro_video.s3.transfers.multipart import MultipartUpload, Target, checked, part_size_for
from pro_video.s3.transfers.uploads import OnProgress
from pro_video.s3.transfers.url_sources import Tuning

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def find_source(client: S3Client, bucket: str, key: str, *, max_bytes: int) -> StoredObject:
    """The object to copy.

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


def read_head(client: S3Client, bucket: str, source: StoredObject) -> bytes:
    """The first bytes of an object, enough to tell what it is.

    Raises:
        SourceRefused: it changed meanwhile.
        StorageUnavailable, StorageRefused: S3.
    """
    with translated(f"reading {source.key}"):
        answer = client.get_object(
            Bucket=bucket,
            Key=source.key,
            Range=f"bytes=0-{min(HEAD_BYTES, source.size) - 1}",
            IfMatch=source.etag,
        )
        with closing(answer["Body"]) as body:
            return body.read(HEAD_BYTES)


def copy(
    place: tuple[str, str],
    source: StoredObject,
    target: Target,
    *,
    tuning: Tuning,
    interrupt: Interrupt,
    on_progress: OnProgress | None,
) -> StoredObject:
    """Copy ``source`` at ``place`` (bucket, key), pinned to its ETag, in parts when it is large.

    Raises:
        SourceRefused: it changed meanwhile.
        TransferInterrupted: the copy differs; it was removed.
        StorageUnavailable, StorageRefused: S3.
        DeadlineExceeded, Interrupted: told to end.
    """
    if place == (target.bucket, target.key):
        return source
    report = on_progress or _quiet
    report(0, source.size)
    if source.size > tuning.copy_limit:
        return _copy_parts(place, source, target, tuning, interrupt, report)
    interrupt.check()
    with translated(f"copying to {target.key}"):
        answer = target.client.copy_object(
            Bucket=target.bucket,
            Key=target.key,
            CopySource={"Bucket": place[0], "Key": place[1]},
            CopySourceIfMatch=source.etag,
            ChecksumAlgorithm="CRC32",
            ContentType=target.content_type,
            MetadataDirective="REPLACE",
        )
    etag = answer["CopyObjectResult"]["ETag"]
    stored = checked(target, etag, source.size, _whole_checksum(source))
    report(source.size, source.size)
    return stored


def _copy_parts(
    place: tuple[str, str],
    source: StoredObject,
    target: Target,
    tuning: Tuning,
    interrupt: Interrupt,
    report: OnProgress,
) -> StoredObject:
    step = part_size_for(source.size, tuning.copy_part_size)
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        report(done, source.size)

    with MultipartUpload(target) as multipart:

        def job(number: int, first: int) -> Callable[[], int]:
            last = min(first + step, source.size) - 1
            return lambda: multipart.copy(number, place, source.etag, first, last)

        def jobs() -> Iterator[Callable[[], int]]:
            for number, first in enumerate(range(0, source.size, step), start=1):
                yield job(number, first)

        supervise(jobs(), workers=tuning.workers, interrupt=interrupt, on_done=moved)
        interrupt.check()
        stored = multipart.complete()
    return checked(target, stored.etag, source.size, _whole_checksum(source))


def _whole_checksum(source: StoredObject) -> set[str]:
    # A composite checksum depends on the parts of the source and says nothing about the copy.
    known = source.checksum_crc32
    return {known} if known is not None and "-" not in known else set()


def _quiet(done: int, total: int | None) -> None:
    return
