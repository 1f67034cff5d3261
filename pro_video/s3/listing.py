"""Listing and removal of many objects of a bucket; blocking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from pro_video.s3.errors import storage_error, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_DELETES: Final = 1000
"""S3's limit of the objects that one call removes."""
_GONE = "NoSuchKey"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object, or an unfinished multipart upload with the bytes and the time of its parts."""

    key: str
    size: int
    modified_at: datetime


def list_objects(client: S3Client, bucket: str, prefix: str) -> Iterator[Listed]:
    """All objects below a prefix, page by page."""
    with translated(f"listing {prefix}"):
        pages = client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield Listed(entry["Key"], entry["Size"], entry["LastModified"])


def delete_objects(client: S3Client, bucket: str, keys: Sequence[str]) -> None:
    """Remove at most :data:`MOST_DELETES` objects; one that does not exist is fine.

    A bucket with versions keeps the bytes behind delete markers.

    Raises:
        StorageRefused, StorageUnavailable: an object could not be removed; others may be gone.
    """
    doing = f"removing {len(keys)} objects"
    with translated(doing):
        answer = client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
    for failed in answer.get("Errors", []):
        code = failed.get("Code", "")
        if code != _GONE:
            raise storage_error(ClientError({"Error": {"Code": code}}, "DeleteObjects"), doing)
