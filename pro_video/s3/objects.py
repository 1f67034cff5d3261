"""Objects in a bucket: metadata, addresses and look-ups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pro_video.core.errors import SourceRefused
from pro_video.s3.errors import STORAGE_ERRORS, is_missing, storage_error, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
DEFAULT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """S3's metadata of one whole object.

    Attributes:
        key: its name in the bucket.
        size: bytes.
        etag: entity tag with its quotes, as ``If-Match`` wants it.
        checksum_crc32: base64 CRC32 of the whole object, or of its n parts' checksums with
            ``-<n>`` at the end; ``None`` when the server keeps none.
        content_type: media type, as stored.
    """

    key: str
    size: int
    etag: str
    checksum_crc32: str | None
    content_type: str


@dataclass(frozen=True, slots=True)
class Target:
    """An object to write, and the client that writes it."""

    client: S3Client
    bucket: str
    key: str
    content_type: str


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. The key is not percent-decoded.

    Raises:
        SourceRefused: another form.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() != "s3" or not separator or not _BUCKET.match(bucket) or not key:
        raise SourceRefused(
            "An address in S3 must have the form s3://bucket/key. Check the address.", code="s3_uri"
        )
    if len(key.encode("utf-8", "replace")) > 1024 or any(
        ord(character) < 0x20 for character in key
    ):
        raise SourceRefused(
            "The key in the s3:// address is longer than 1024 bytes or has control characters. "
            "Check the address.",
            code="s3_uri",
        )
    return bucket, key


def head_object(client: S3Client, bucket: str, key: str) -> StoredObject | None:
    """The metadata of an object; ``None`` when there is none."""
    try:
        response = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except STORAGE_ERRORS as error:
        if isinstance(error, ClientError) and is_missing(error):
            return None
        raise storage_error(error, f"looking at {key}") from None
    return StoredObject(
        key=key,
        size=response["ContentLength"],
        etag=response["ETag"],
        checksum_crc32=response.get("ChecksumCRC32"),
        content_type=response.get("ContentType", DEFAULT_TYPE),
    )


def find_object(client: S3Client, bucket: str, prefix: str) -> StoredObject | None:
    """The first object with this prefix; ``None`` when there is none."""
    with translated(f"looking for {prefix}"):
        response = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    found = response.get("Contents") or []
    return head_object(client, bucket, found[0]["Key"]) if found else None
