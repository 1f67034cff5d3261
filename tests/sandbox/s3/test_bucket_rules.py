"""Lifecycle and CORS rules: stored, returned, and obeyed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sandbox.common.server import RunningServer
from sandbox.common.store import Store
from sandbox.s3.operations.lifecycle import apply_rules, due
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.storage.uploads import Uploads
from tests.sandbox.s3.raw import Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ABORT: Any = {
    "ID": "abort",
    "Status": "Enabled",
    "Filter": {"Prefix": "jobs/"},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
}
EVERYTHING: Any = {**ABORT, "ID": "later", "Filter": {"Prefix": ""}}
EVERYTHING["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": 9}


def moment(day: int, hour: int) -> float:
    return datetime(2026, 3, day, hour, tzinfo=UTC).timestamp()


def test_rules_fall_due_at_midnight() -> None:
    assert due(moment(1, 15), 2) == moment(4, 0)
    assert due(moment(1, 0), 2) == moment(3, 0)


def test_lifecycle_configuration_round_trip(client: S3Client, bucket: str) -> None:
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        client.get_bucket_lifecycle_configuration(Bucket=bucket)
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [ABORT, EVERYTHING]}
    )
    assert client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [ABORT, EVERYTHING]
    client.delete_bucket_lifecycle(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        client.get_bucket_lifecycle_configuration(Bucket=bucket)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({**ABORT, "Status": "Sometimes"}, "MalformedXML"),
        (
            {**ABORT, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}},
            "InvalidArgument",
        ),
        ({"Status": "Enabled", "Filter": {"Prefix": ""}}, "MalformedXML"),
        ({**ABORT, "Filter": {"ObjectSizeGreaterThan": 5}}, "NotImplemented"),
        ({**ABORT, "Expiration": {"Days": 1}}, "NotImplemented"),
        ({**ABORT, "Transitions": [{"Days": 3, "StorageClass": "GLACIER"}]}, "NotImplemented"),
    ],
)
def test_lifecycle_rules_that_are_refused(
    client: S3Client, bucket: str, rule: Any, code: str
) -> None:
    with pytest.raises(ClientError, match=code):
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
        )


def test_lifecycle_rules_are_applied(
    serve: Callable[..., RunningServer],
    connect: Callable[[RunningServer], S3Client],
    tmp_path: Path,
) -> None:
    begun = time.time()
    with serve() as server:
        client = connect(server)
        client.create_bucket(Bucket="bucket")
        client.put_bucket_lifecycle_configuration(
            Bucket="bucket", LifecycleConfiguration={"Rules": [ABORT]}
        )
        for key in ("jobs/1", "other"):
            client.create_multipart_upload(Bucket="bucket", Key=key)
    with Store(tmp_path / "data" / "s3.sqlite") as store:
        catalog = Catalog(store, Blobs(tmp_path / "data"), time.time)
        uploads = Uploads(catalog)
        assert apply_rules(catalog, uploads, due(begun, 2) - 1) == 0
        assert apply_rules(catalog, uploads, due(time.time(), 2)) == 1
        assert [upload.key for upload in uploads.listing("bucket")] == ["other"]


CORS: Any = {
    "CORSRules": [
        {
            "AllowedOrigins": ["https://*.example.com"],
            "AllowedMethods": ["PUT"],
            "AllowedHeaders": ["content-*", "x-amz-meta-job"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        },
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
    ]
}


def preflight(raw: Raw, bucket: str, origin: str, method: str, headers: str = "") -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return raw.unsigned("OPTIONS", f"/{bucket}/k", headers=asked)


def test_browsers_may_upload_with_a_presigned_url(client: S3Client, raw: Raw, bucket: str) -> None:
    origin = "https://app.example.com"
    assert preflight(raw, bucket, origin, "PUT").code == "AccessForbidden"
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    allowed = preflight(raw, bucket, origin, "PUT", "Content-Type, x-amz-meta-job")
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == origin
    assert allowed.headers["access-control-allow-headers"] == "content-type, x-amz-meta-job"
    assert allowed.headers["access-control-max-age"] == "60"
    for refused in (
        preflight(raw, bucket, "https://example.org", "PUT"),
        preflight(raw, bucket, origin, "DELETE"),
        preflight(raw, bucket, origin, "PUT", "authorization"),
        preflight(raw, bucket, "https://a.example.com.evil.org", "PUT"),
    ):
        assert (refused.status, refused.code) == (403, "AccessForbidden")
    assert preflight(raw, bucket, origin, "FLY").code == "BadRequest"
    assert raw.unsigned("OPTIONS", f"/{bucket}/k").code == "BadRequest"
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    target = url[url.index(f"/{bucket}") :]
    put = raw.unsigned("PUT", target, b"data", {"Origin": origin})
    assert put.headers["access-control-allow-origin"] == origin
    assert put.headers["access-control-expose-headers"] == "ETag"
    # A browser sees a refusal as well.
    denied = raw.unsigned("GET", f"/{bucket}/k", headers={"Origin": "https://anyone"})
    assert (denied.status, denied.headers["access-control-allow-origin"]) == (403, "*")
    assert "access-control-allow-origin" not in raw.unsigned("GET", f"/{bucket}/k").headers


def test_cors_configuration_round_trip(client: S3Client, bucket: str) -> None:
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        client.get_bucket_cors(Bucket=bucket)
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration=CORS)
    assert client.get_bucket_cors(Bucket=bucket)["CORSRules"] == CORS["CORSRules"]
    client.delete_bucket_cors(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        client.get_bucket_cors(Bucket=bucket)
    for rule in (
        {"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]},
        {"AllowedOrigins": ["*.*"], "AllowedMethods": ["GET"]},
    ):
        broken: Any = {"CORSRules": [rule]}
        with pytest.raises(ClientError, match="InvalidRequest"):
            client.put_bucket_cors(Bucket=bucket, CORSConfiguration=broken)
