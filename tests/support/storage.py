"""Common parts of the storage's tests: a server, sizes, short timeouts, and reads of a bucket."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pro_video.core.retrying import Backoff
from pro_video.net.gate import Gate
from pro_video.s3.storage import Tuning, make_client
from sandbox.s3 import start_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
BUCKET = "jobs-bucket"
REGION: Final = "eu-central-1"
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
# S3's smallest part: the shortest files that take the multipart path.
PART = 5 * MIB
QUICK = Tuning(
    part_size=PART,
    workers=3,
    backoff=Backoff(first=0.01, longest=0.05, tries=5),
    restarts=2,
)
LOCAL = Gate(allow_private=True, connect_timeout=5.0, read_timeout=10.0)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that differ everywhere, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def unfinished(client: S3Client, key: str) -> list[str]:
    """Ids of the unfinished multipart uploads of a key."""
    answer = client.list_multipart_uploads(Bucket=BUCKET, Prefix=key)
    return [upload["UploadId"] for upload in answer.get("Uploads", []) if upload["Key"] == key]


def stored(client: S3Client, key: str) -> bytes:
    """The content of an object of the bucket."""
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


@contextmanager
def running_s3(folder: Path, region: str) -> Iterator[tuple[str, S3Client]]:
    """The address of an S3 server, and a client of it."""
    with start_s3(
        folder,
        host="127.0.0.1",
        port=0,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        region=region,
    ) as server:
        client = make_client(
            endpoint_url=server.url, region=region, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )
        yield server.url, client
        client.close()
