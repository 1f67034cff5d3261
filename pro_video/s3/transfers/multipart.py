"""Writing an object: one PUT for a small one, a multipart upload for the rest, with checksums end
to end.

Each part goes out with its CRC32; S3 refuses a part that arrives damaged, a list with a missing
part and a total size that differs. At the end the checksum that S3 keeps is compared with ours. An
upload that does not get that far is aborted, and until it does the key shows nothing.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from pro_video.core.errors import ProVideoError, TransferInterrupted
from pro_video.s3.errors import STORAGE_ERRORS, error_code, translated
from pro_video.s3.objects import StoredObject, head_object
from pro_video.s3.transfers import crc

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        CompleteMultipartUploadRequestTypeDef,
        PutObjectRequestTypeDef,
    )

logger = logging.getLogger(__name__)

MAX_PARTS = 10_000
_STALE_LIMIT = 100
_MIB = 1024 * 1024


def part_size_for(total: int, smallest: int) -> int:
    """Bytes per part so that ``total`` bytes need at most 10,000 parts, S3's limit; whole MiB when
    grown."""
    needed = -(-total // MAX_PARTS)
    return smallest if needed <= smallest else -(-needed // _MIB) * _MIB


@dataclass(frozen=True, slots=True)
class Target:
    """The place of an object in S3."""

    client: S3Client
    bucket: str
    key: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an object; ``number`` counts from 1."""

    number: int
    data: bytearray


class MultipartUpload:
    """One multipart upload, aborted on leaving the ``with`` block unless it was completed.

    Uploads that earlier, killed processes left behind for the same key are aborted first: their
    parts cost money and are never completed. Two workers that store the same key at once
    converge on the later one; the earlier sees its upload gone and raises
    :class:`TransferInterrupted`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._id = ""
        self._done = False
        self._parts: dict[int, tuple[CompletedPartTypeDef, int, int]] = {}

    def __enter__(self) -> MultipartUpload:
        target = self._target
        _abort_stale(target)
        with translated(f"beginning to store {target.key}"):
            answer = target.client.create_multipart_upload(
                Bucket=target.bucket,
                Key=target.key,
                ContentType=target.content_type,
                ChecksumAlgorithm="CRC32",
                ChecksumType="FULL_OBJECT",
            )
        self._id = answer["UploadId"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._done:
            _abort(self._target, self._id)

    def put(self, part: Part) -> int:
        """Send one part; returns its size. May be called from several threads."""
        target, checksum = self._target, zlib.crc32(part.data)
        encoded = crc.encode(checksum)
        with translated(f"storing part {part.number} of {target.key}"):
            answer = target.client.upload_part(
                Bucket=target.bucket,
                Key=target.key,
                UploadId=self._id,
                PartNumber=part.number,
                Body=cast("bytes", part.data),  # botocore takes a bytearray as it is
                ChecksumCRC32=encoded,
            )
        if answer.get("ChecksumCRC32", encoded) != encoded:
            raise TransferInterrupted(
                f"S3 stored part {part.number} of {target.key} with another checksum. Try again.",
                code="checksum",
            )
        self._parts[part.number] = (
            {"PartNumber": part.number, "ETag": answer["ETag"], "ChecksumCRC32": encoded},
            checksum,
            len(part.data),
        )
        return len(part.data)

    def copy(self, number: int, source: tuple[str, str], etag: str, first: int, last: int) -> int:
        """Let S3 copy the bytes ``first`` … ``last`` of another object as one part; returns its
        size."""
        target = self._target
        with translated(f"copying part {number} of {target.key}"):
            answer = target.client.upload_part_copy(
                Bucket=target.bucket,
                Key=target.key,
                UploadId=self._id,
                PartNumber=number,
                CopySource={"Bucket": source[0], "Key": source[1]},
                CopySourceIfMatch=etag,
                CopySourceRange=f"bytes={first}-{last}",
            )["CopyPartResult"]
        done: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        checksum = 0
        if "ChecksumCRC32" in answer:
            done["ChecksumCRC32"] = answer["ChecksumCRC32"]
            checksum = crc.decode(answer["ChecksumCRC32"])
        self._parts[number] = (done, checksum, last - first + 1)
        return last - first + 1

    def complete(self) -> StoredObject:
        """Make the object appear, and compare what S3 has with what was sent.

        Raises:
            TransferInterrupted: S3 ended up with something else; the key is cleared again.
        """
        target = self._target
        parts = [self._parts[number] for number in sorted(self._parts)]
        sums = [(checksum, size) for _, checksum, size in parts]
        total = sum(size for _, size in sums)
        known = all("ChecksumCRC32" in done for done, _, _ in parts)
        expected = {crc.whole(sums), crc.composite(sums)} if known else set()
        try:
            with translated(f"finishing {target.key}"):
                answer = target.client.complete_multipart_upload(
                    **self._completion(total, sums, known)
                )
        except ProVideoError:
            # The answer may be lost although the object is there: only a look can tell.
            stored = head_object(target.client, target.bucket, target.key)
            if stored is None or stored.size != total or stored.checksum_crc32 not in expected:
                raise
            self._done = True
            return stored
        self._done = True
        return checked(target, answer["ETag"], total, expected)

    def _completion(
        self, total: int, sums: list[tuple[int, int]], known: bool
    ) -> CompleteMultipartUploadRequestTypeDef:
        target = self._target
        request: CompleteMultipartUploadRequestTypeDef = {
            "Bucket": target.bucket,
            "Key": target.key,
            "UploadId": self._id,
            "MultipartUpload": {"Parts": [self._parts[n][0] for n in sorted(self._parts)]},
            "MpuObjectSize": total,
        }
        if known:
            request["ChecksumCRC32"] = crc.whole(sums)
            request["ChecksumType"] = "FULL_OBJECT"
        return request


def checked(target: Target, etag: str, size: int, checksums: set[str]) -> StoredObject:
    """Compare what S3 keeps with what was sent; an object of ours that differs is removed.

    Args:
        target: the written object.
        etag: as the answer to the write gave it. An object with another one is another writer's,
            and stays.
        size: bytes sent.
        checksums: the right CRC32 in each form that S3 may use; empty means not known. A server
            that keeps no checksum is compared by size alone.

    Raises:
        TransferInterrupted: the key holds something else.
    """
    stored = head_object(target.client, target.bucket, target.key)
    if stored is not None and stored.size == size:
        given = stored.checksum_crc32
        if given is None or not checksums or given in checksums:
            return stored
    if stored is not None and stored.etag == etag:
        with translated(f"removing {target.key}"):
            target.client.delete_object(Bucket=target.bucket, Key=target.key)
    raise TransferInterrupted(
        f"S3 has other bytes under {target.key} than were sent. Try again.", code="checksum"
    )


def _abort(target: Target, upload_id: str) -> None:
    try:
        target.client.abort_multipart_upload(
            Bucket=target.bucket, Key=target.key, UploadId=upload_id
        )
    except STORAGE_ERRORS as error:
        if isinstance(error, ClientError) and error_code(error) == "NoSuchUpload":
            return
        # The error that ended the upload is raised; the next try for this key aborts again.
        logger.warning("Could not abort the upload of %s (%s)", target.key, type(error).__name__)


def _abort_stale(target: Target) -> None:
    try:
        answer = target.client.list_multipart_uploads(
            Bucket=target.bucket, Prefix=target.key, MaxUploads=_STALE_LIMIT
        )
    except STORAGE_ERRORS as error:
        # Tidying may be forbidden by the policy; a lifecycle rule of the bucket does it then.
        logger.info("Cannot list unfinished uploads (%s)", type(error).__name__)
        return
    for upload in answer.get("Uploads", []):
        if upload["Key"] == target.key:
            _abort(target, upload["UploadId"])


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
