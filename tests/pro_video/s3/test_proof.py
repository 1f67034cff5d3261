"""A bucket is tried out: one that lies is refused with the sentence that says what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from pro_video.core.errors import StorageRefused, StorageUnavailable
from pro_video.s3.proof import NO_ABORT, NO_CHECKSUM, NO_CONDITIONS, NO_READ_AFTER_WRITE
from pro_video.s3.storage import Storage, make_client
from tests.support.storage import ACCESS_KEY, BUCKET, SECRET_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Faults = Callable[..., None]


def always(call: str, kind: str, **more: object) -> dict[str, object]:
    return {"call": call, "kind": kind, "times": None, "match": {"key": "trial/*"}, **more}


@pytest.fixture
def is_clean(s3_client: S3Client) -> Iterator[None]:
    """Nothing stays behind, whatever came of the trial."""
    yield
    assert s3_client.list_objects_v2(Bucket=BUCKET, Prefix="trial/")["KeyCount"] == 0


@pytest.mark.usefixtures("is_clean")
async def test_a_bucket_that_does_as_aws_does_is_taken(storage: Storage, s3_endpoint: str) -> None:
    def requests() -> int:
        audit = httpx.get(f"{s3_endpoint}/_sandbox/audit").raise_for_status().json()
        return sum(audit["requests"].values())

    before = requests()
    await storage.prove("trial/key")
    await storage.prove("trial/key")
    assert requests() - before <= 2 * 15


@pytest.mark.usefixtures("is_clean")
@pytest.mark.parametrize(
    ("lies", "lacks"),
    [
        ([always("put_object", "ignore_condition")], [NO_CONDITIONS]),
        # The condition is refused once, and then forgotten.
        (
            [
                {"call": "put_object", "kind": "delay", "seconds": 0, "times": 2},
                always("put_object", "ignore_condition"),
            ],
            [NO_CONDITIONS],
        ),
        ([always("put_object", "error", code="NotImplemented")], [NO_CONDITIONS]),
        ([always("get_object", "error", code="NoSuchKey")], [NO_READ_AFTER_WRITE]),
        ([always("head_object", "error", code="NoSuchKey")], [NO_READ_AFTER_WRITE]),
        ([always("head_object", "no_checksum")], [NO_CHECKSUM]),
        ([always("abort_multipart_upload", "pretend")], [NO_ABORT]),
        (
            [
                always("put_object", "ignore_condition"),
                always("head_object", "no_checksum"),
                always("abort_multipart_upload", "pretend"),
            ],
            [NO_CONDITIONS, NO_CHECKSUM, NO_ABORT],
        ),
    ],
)
async def test_a_bucket_that_lies_is_refused_with_all_that_it_lacks(
    storage: Storage, faults: Faults, lies: list[dict[str, object]], lacks: list[str]
) -> None:
    if lies[0].get("code") == "NotImplemented":
        lies = [{**lies[0], "times": 1}]
    faults(*lies)
    with pytest.raises(StorageRefused) as caught:
        await storage.prove("trial/key")
    assert caught.value.code == "store_unfit"
    told = caught.value.message.partition(": ")[2].partition(". A job")[0]
    assert set(told.split("; ")) == set(lacks)
    assert storage.place in caught.value.message


@pytest.mark.usefixtures("is_clean")
async def test_a_bucket_that_lets_nobody_in_says_so(storage: Storage, faults: Faults) -> None:
    faults({"call": "put_object", "kind": "error", "code": "AccessDenied"})
    with pytest.raises(StorageRefused, match="policy"):
        await storage.prove("trial/key")


async def test_a_server_that_is_down_lacks_nothing(once_client: S3Client, faults: Faults) -> None:
    faults(always("put_object", "503_slow_down"))
    with pytest.raises(StorageUnavailable):
        await Storage(once_client, BUCKET).prove("trial/key")


@pytest.mark.parametrize(
    ("endpoint", "region", "place"),
    [
        ("http://127.0.0.1:9000", "us-east-1", "s3://b-1 at 127.0.0.1:9000"),
        ("https://minio.example/", "us-east-1", "s3://b-1 at minio.example"),
        ("https://user:c4n4ry@minio.example/", "us-east-1", "s3://b-1 at minio.example"),
        (None, "us-east-1", "s3://b-1"),
        (None, "eu-central-1", "s3://b-1"),
        (None, "cn-north-1", "s3://b-1"),
    ],
)
def test_a_bucket_is_told_from_every_other(endpoint: str | None, region: str, place: str) -> None:
    client = make_client(
        endpoint_url=endpoint, region=region, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    assert Storage(client, "b-1").place == place
    client.close()
