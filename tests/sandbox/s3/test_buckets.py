"""Buckets, their names, and the listings of what is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.common.server import RunningServer
from sandbox.s3.errors import S3Error
from sandbox.s3.operations.buckets import check_name
from tests.sandbox.s3.raw import Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 64, "Upper", "under_score", "-start", "end-", "a..b", "192.168.0.1", "xn--abc",
     "sthree-x", "abc-s3alias", "_sandbox", "spa ce", "new\nline"],
)  # fmt: skip
def test_names_that_s3_refuses(name: str) -> None:
    with pytest.raises(S3Error, match="InvalidBucketName"):
        check_name(name)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "my.bucket-1", "192.168.0.256"])
def test_names_that_s3_takes(name: str) -> None:
    check_name(name)


def test_life_of_a_bucket(client: S3Client, bucket: str) -> None:
    client.head_bucket(Bucket=bucket)
    names = [item["Name"] for item in client.list_buckets()["Buckets"]]
    assert bucket in names
    assert client.list_buckets(Prefix=bucket)["Buckets"][0]["Name"] == bucket
    assert client.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="k", Body=b"")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        client.delete_bucket(Bucket=bucket)
    client.delete_object(Bucket=bucket, Key="k")
    client.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError, match="404"):
        client.head_bucket(Bucket=bucket)


def test_bucket_listing_in_pages(client: S3Client, bucket: str) -> None:
    names = [f"{bucket}-{letter}" for letter in "abc"]
    for name in names:
        client.create_bucket(Bucket=name)
    pages = client.get_paginator("list_buckets").paginate(
        Prefix=f"{bucket}-", PaginationConfig={"PageSize": 2}
    )
    found = [[item["Name"] for item in page.get("Buckets", [])] for page in pages]
    assert found == [names[:2], names[2:]]


def test_another_region_wants_its_name_and_says_whose_the_bucket_is(
    serve: Callable[..., RunningServer],
) -> None:
    raw = Raw(serve(region="eu-central-1").url)
    body = (
        b"<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint>"
        b"</CreateBucketConfiguration>"
    )
    classic = body.replace(b"eu-central-1", b"us-east-1")
    answer = raw.signed("PUT", "/some-bucket", classic, region="eu-central-1")
    assert answer.code == "InvalidLocationConstraint"
    answer = raw.signed("PUT", "/some-bucket", b"", region="eu-central-1")
    assert answer.code == "IllegalLocationConstraintException"
    assert raw.signed("PUT", "/some-bucket", body, region="eu-central-1").status == 200
    again = raw.signed("PUT", "/some-bucket", body, region="eu-central-1")
    assert (again.status, again.code) == (409, "BucketAlreadyOwnedByYou")
    wrong = raw.signed("GET", "/some-bucket", region="us-east-1")
    assert (wrong.code, wrong.element("Region")) == ("AuthorizationHeaderMalformed", "eu-central-1")


def keys_of(client: S3Client, bucket: str, **options: object) -> tuple[list[str], list[str], int]:
    """Keys, common prefixes and the number of pages of a ListObjectsV2."""
    keys: list[str] = []
    prefixes: list[str] = []
    pages = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, **options):  # type: ignore[arg-type]
        pages += 1
        keys += [item["Key"] for item in page.get("Contents", [])]
        prefixes += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
    return keys, prefixes, pages


def test_listing_with_prefix_delimiter_and_pages(client: S3Client, bucket: str) -> None:
    for key in ("jobs/1/a", "jobs/1/b", "jobs/2/a", "jobs/x", "other", "jobs 2", "jobs/ü&"):
        client.put_object(Bucket=bucket, Key=key, Body=b"12")
    assert keys_of(client, bucket, Prefix="jobs/", Delimiter="/") == (
        ["jobs/x", "jobs/ü&"],
        ["jobs/1/", "jobs/2/"],
        1,
    )
    assert keys_of(client, bucket, Delimiter="/") == (["jobs 2", "other"], ["jobs/"], 1)
    assert keys_of(client, bucket, StartAfter="jobs/2/a")[0] == ["jobs/x", "jobs/ü&", "other"]
    keys, prefixes, pages = keys_of(
        client, bucket, Prefix="jobs", Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    assert (keys, prefixes, pages) == (["jobs 2"], ["jobs/"], 2)
    item = client.list_objects_v2(Bucket=bucket, Prefix="other")["Contents"][0]
    assert (item["Size"], item["StorageClass"]) == (2, "STANDARD")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    keys=st.sets(st.text("ab/é", min_size=1, max_size=5), max_size=12),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "b", "a/"]),
    size=st.integers(1, 4),
)
def test_paged_listing_equals_its_definition(
    client: S3Client, keys: set[str], prefix: str, delimiter: str, size: int
) -> None:
    """Against the definition: roll up what contains the delimiter behind the prefix."""
    bucket = "listing-property"
    client.create_bucket(Bucket=bucket)
    for item in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=item["Key"])
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    plain: list[str] = []
    rolled: set[str] = set()
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix):
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut >= 0:
            rolled.add(key[: cut + len(delimiter)])
        else:
            plain.append(key)
    found = keys_of(
        client, bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    assert found[0] == plain
    assert found[1] == sorted(rolled, key=str.encode)
    total = len(plain) + len(rolled)
    assert found[2] == max(1, -(-total // size))
