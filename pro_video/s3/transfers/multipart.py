"""Multipart uploads, with checksums end to end.

Each part is sent with its CRC32. S3 refuses a damaged part, a list with a missing part and a total
size that differs. At the end S3's checksum is compared with ours. An upload that fails before is
aborted, and the key shows nothing.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from pro_video.core.errors import ProVideoError, TransferInterrupted
from pro_video.s3.errors import STORAGE_ERRORS, error_code, translated
from pro_video.s3.objects import StoredObject, Target, head_object
from pro_video.s3.transfers import crc

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CompleteMultipartUploadRequestTypeDef

logger = logging.getLogger(__name__)

MAX_PARTS = 10_000
_STALE_LIMIT = 100
_MIB = 1024 * 1024


def part_size_for(total: int, smallest: int) -> int:
    """Bytes per part: ``smallest``, or the whole MiB with which 10,000 parts (S3's limit) are
    enough."""
    needed = -(-total // MAX_PARTS)
    return smallest if needed <= smallest else -(-needed // _MIB) * _MIB


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object; ``number`` counts from 1."""

    number: int
    data: bytearray


class MultipartUpload:
    """One multipart upload, aborted on leaving the ``with`` block unless it was completed.

    Unfinished uploads of killed processes for the same key are aborted first: their parts cost
    money and are never completed. Of two workers that store the same key at once, the later one
    goes on; the earlier one raises :class:`TransferInterrupted`.
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
            response = target.client.create_multipart_upload(
                Bucket=target.bucket,
                Key=target.key,
                ContentType=target.content_type,
                ChecksumAlgorithm="CRC32",
                ChecksumType="FULL_OBJECT",
            )
        self._id = response["UploadId"]
        return self

    def __exit__(self, *error: object) -> None:
        if not self._done:
            _abort(self._target, self._id)

    def put(self, part: Part) -> int:
        """Send one part; returns its size. May be called from several threads."""
        target, checksum = self._target, zlib.crc32(part.data)
        encoded = crc.encode(checksum)
        with translated(f"storing part {part.number} of {target.key}"):
            response = target.client.upload_part(
                Bucket=target.bucket,
                Key=target.key,
                UploadId=self._id,
                PartNumber=part.number,
                Body=cast("bytes", part.data),  # botocore takes a bytearray as it is
                ChecksumCRC32=encoded,
            )
        if response.get("ChecksumCRC32", encoded) != encoded:
            raise TransferInterrupted(
                f"S3 stored part {part.number} of {target.key} with another checksum. Try again.",
                code="checksum",
            )
        self._parts[part.number] = (
            {"PartNumber": part.number, "ETag": response["ETag"], "ChecksumCRC32": encoded},
            checksum,
            len(part.data),
        )
        return len(part.data)

    def copy(self, number: int, source: tuple[str, str], etag: str, first: int, last: int) -> int:
        """Let S3 copy the bytes ``first`` … ``last`` of another object as one part; returns its
        size."""
        target = self._target
        with translated(f"copying part {number} of {target.key}"):
            response = target.client.upload_part_copy(
                Bucket=target.bucket,
                Key=target.key,
                UploadId=self._id,
                PartNumber=number,
                CopySource={"Bucket": source[0], "Key": source[1]},
                CopySourceIfMatch=etag,
                CopySourceRange=f"bytes={first}-{last}",
            )["CopyPartResult"]
        done: CompletedPartTypeDef = {"PartNumber": number, "ETag": response["ETag"]}
        checksum = 0
        if "ChecksumCRC32" in response:
            done["ChecksumCRC32"] = response["ChecksumCRC32"]
            checksum = crc.decode(response["ChecksumCRC32"])
        self._parts[number] = (done, checksum, last - first + 1)
        return last - first + 1

    def complete(self) -> StoredObject:
        """Make the object appear, and compare what S3 has with what was sent.

        Raises:
            TransferInterrupted: S3 has other bytes; the key is cleared again.
        """
        target = self._target
        parts = [self._parts[number] for number in sorted(self._parts)]
        sums = [(checksum, size) for _, checksum, size in parts]
        total = sum(size for _, size in sums)
        known = all("ChecksumCRC32" in done for done, _, _ in parts)
        expected = {crc.whole(sums), crc.composite(sums)} if known else set()
        try:
            with translated(f"finishing {target.key}"):
                response = target.client.complete_multipart_upload(
                    **self._completion(total, sums, known)
                )
        except ProVideoError:
            # The response may be lost although the object is there.
            stored = head_object(target.client, target.bucket, target.key)
            if stored is None or stored.size != total or stored.checksum_crc32 not in expected:
                raise
            self._done = True
            return stored
        self._done = True
        return checked(target, response["ETag"], total, expected)

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
    """Compare the stored object with what was sent; an object of ours that differs is removed.

    Args:
        target: the written object.
        etag: from the response to the write. An object with another ETag belongs to another
            writer and stays.
        size: bytes sent.
        checksums: the right CRC32 in each form that S3 may use; empty when unknown. Without a
            checksum of the server, the size alone is compared.

    Raises:
        TransferInterrupted: the key holds other bytes.
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
        # The next transfer to this key aborts the upload again.
        logger.warning("Could not abort the upload of %s (%s)", target.key, type(error).__name__)


def _abort_stale(target: Target) -> None:
    try:
        response = target.client.list_multipart_uploads(
            Bucket=target.bucket, Prefix=target.key, MaxUploads=_STALE_LIMIT
        )
    except STORAGE_ERRORS as error:
        # The policy may forbid the listing; then a lifecycle rule of the bucket aborts them.
        logger.info("Cannot list unfinished uploads (%s)", type(error).__name__)
        return
    for upload in response.get("Uploads", []):
        if upload["Key"] == target.key:
            _abort(target, upload["UploadId"])
