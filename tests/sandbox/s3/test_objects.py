"""Objects through boto3: what is stored comes back, conditions and ranges as on S3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

from tests.sandbox.s3.raw import Raw

HOSTILE_KEYS = [
    "a",
    "a/b",
    "a/b/",
    "../../etc/passwd",
    "..",
    "/leading",
    "double//slash",
    "ünï cödé 漢字 🎬",
    "plus+and space&amp?query=1#hash%41",
    "quote'\"<tag>",
    "x" * 1024,
]


FAILED = ("PreconditionFailed", 412)


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, int]:
    """The code and the status with which a call fails."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_everything_about_an_object_comes_back(client: S3Client, bucket: str) -> None:
    described: dict[str, Any] = {
        "ContentType": "video/mp4",
        "CacheControl": "max-age=5",
        "ContentDisposition": 'attachment; filename="a.mp4"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"job": "17", "note": "two  blanks"},
    }
    put = client.put_object(Bucket=bucket, Key="key", Body=b"hello", **described)
    got = client.get_object(Bucket=bucket, Key="key")
    assert got["Body"].read() == b"hello"
    head = client.head_object(Bucket=bucket, Key="key")
    assert put["ETag"] == got["ETag"] == head["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    assert head["ContentLength"] == 5
    for name, value in described.items():
        assert head[name] == value  # type: ignore[literal-required]
    other: Any = {"ResponseContentType": "text/plain", "ResponseContentDisposition": "inline"}
    got = client.get_object(Bucket=bucket, Key="key", **other)
    assert (got["ContentType"], got["ContentDisposition"]) == ("text/plain", "inline")
    got["Body"].read()


def test_keys_are_only_names(client: S3Client, bucket: str) -> None:
    for number, key in enumerate(HOSTILE_KEYS):
        client.put_object(Bucket=bucket, Key=key, Body=str(number).encode())
    for number, key in enumerate(HOSTILE_KEYS):
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == str(number).encode()
    listed = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in listed] == sorted(HOSTILE_KEYS, key=str.encode)
    for key in HOSTILE_KEYS:
        client.delete_object(Bucket=bucket, Key=key)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_ranges(raw: Raw, bucket: str) -> None:
    path = f"/{bucket}/digits"
    raw.signed("PUT", path, b"0123456789")
    for header, first, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=7-", 7, 10),
        ("bytes=-4", 6, 10),
        ("bytes=-100", 0, 10),
        ("bytes=5-100", 5, 10),
    ):
        got = raw.signed("GET", path, headers={"Range": header})
        assert (got.status, got.body) == (206, b"0123456789"[first:end])
        assert got.headers["content-range"] == f"bytes {first}-{end - 1}/10"
        head = raw.signed("HEAD", path, headers={"Range": header})
        assert head.headers["content-length"] == str(end - first)
    for header in ("bytes=10-", "bytes=-0", "bytes=99-100"):
        refused = raw.signed("GET", path, headers={"Range": header})
        assert (refused.status, refused.code) == (416, "InvalidRange")
        assert refused.headers["content-range"] == "bytes */10"
    for header in ("bytes=1-2,4-5", "bytes=5-2", "lines=1-2", "bytes=-"):
        ignored = raw.signed("GET", path, headers={"Range": header})
        assert (ignored.status, ignored.body) == (200, b"0123456789")


def test_conditional_reads(client: S3Client, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = client.head_object(Bucket=bucket, Key="k")["LastModified"]
    client.get_object(Bucket=bucket, Key="k", IfMatch=etag)["Body"].read()
    client.get_object(Bucket=bucket, Key="k", IfNoneMatch='"other"')["Body"].read()
    client.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=modified)["Body"].read()
    for refused in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": modified.replace(year=2001)}):
        assert refusal(client.get_object, Bucket=bucket, Key="k", **refused) == FAILED
    for unchanged in ({"IfNoneMatch": etag}, {"IfModifiedSince": modified}):
        assert refusal(client.get_object, Bucket=bucket, Key="k", **unchanged)[1] == 304


def test_if_range(raw: Raw, client: S3Client, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    date = raw.signed("HEAD", f"/{bucket}/k").headers["last-modified"]
    for value, status in (
        (etag, 206),
        (date, 206),
        ('"x"', 200),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ):
        answer = raw.signed(
            "GET", f"/{bucket}/k", headers={"Range": "bytes=1-2", "If-Range": value}
        )
        assert (value, answer.status) == (value, status)


def test_conditional_writes(client: S3Client, bucket: str) -> None:
    put: Any = {"Bucket": bucket, "Key": "k", "Body": b"2"}
    first = client.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        assert refusal(client.put_object, **put, **condition) == FAILED
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    client.put_object(**put, IfMatch=first)
    absent = put | {"Key": "absent", "IfMatch": first}
    assert refusal(client.put_object, **absent) == ("NoSuchKey", 404)
    assert refusal(client.delete_object, Bucket=bucket, Key="k", IfMatch=first) == FAILED


def test_copies(client: S3Client, bucket: str) -> None:
    client.create_bucket(Bucket=f"{bucket}-other")
    source = client.put_object(
        Bucket=bucket, Key="ä/src", Body=b"data", ContentType="video/mp4", Metadata={"a": "1"}
    )
    copied = client.copy_object(
        Bucket=f"{bucket}-other", Key="dst", CopySource={"Bucket": bucket, "Key": "ä/src"}
    )
    assert copied["CopyObjectResult"]["ETag"] == source["ETag"]
    client.delete_object(Bucket=bucket, Key="ä/src")
    got = client.get_object(Bucket=f"{bucket}-other", Key="dst", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (
        b"data",
        "video/mp4",
        {"a": "1"},
    )
    assert got["ChecksumCRC32"] == source["ChecksumCRC32"]
    other = f"{bucket}-other"
    client.copy_object(
        Bucket=other,
        Key="dst",
        CopySource={"Bucket": other, "Key": "dst"},
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="audio/wav",
        ChecksumAlgorithm="SHA256",
    )
    head = client.head_object(Bucket=other, Key="dst", ChecksumMode="ENABLED")
    assert (head["Metadata"], head["ContentType"]) == ({"b": "2"}, "audio/wav")
    assert head["ChecksumSHA256"] == "Om6weQ85rIfJTzhWst0sXREOaBFgImGpqSPTuyOtyLc="
    itself: Any = {"Bucket": other, "Key": "dst", "CopySource": {"Bucket": other, "Key": "dst"}}
    assert refusal(client.copy_object, **itself) == ("InvalidRequest", 400)
    assert refusal(client.copy_object, CopySourceIfMatch="x", **itself) == FAILED


def test_deleting_many(client: S3Client, bucket: str) -> None:
    for key in ("a", "b", "<&>"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    gone = client.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "<&>"}, {"Key": "never"}]}
    )
    assert {item["Key"] for item in gone["Deleted"]} == {"a", "<&>", "never"}
    quiet: dict[str, Any] = dict(
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    )
    assert "Deleted" not in quiet
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_reader_keeps_the_object_it_began_with(client: S3Client, bucket: str) -> None:
    old, new = b"o" * 8_000_000, b"n" * 8_000_000
    client.put_object(Bucket=bucket, Key="k", Body=old)
    reader = client.get_object(Bucket=bucket, Key="k")["Body"]
    start = reader.read(1000)
    client.put_object(Bucket=bucket, Key="k", Body=new)
    assert start + reader.read() == old
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == new


def test_readers_and_writers_of_one_key(raw: Raw, client: S3Client, bucket: str) -> None:
    """A reader always gets one version as a whole, with that version's ETag."""
    path = f"/{bucket}/k"
    versions = [bytes([number]) * (150_000 + number) for number in range(4)]
    client.put_object(Bucket=bucket, Key="k", Body=versions[0])
    source: CopySourceTypeDef = {"Bucket": bucket, "Key": "k"}

    def write(number: int) -> None:
        for _ in range(12):
            assert raw.signed("PUT", path, versions[number]).status == 200

    def read(number: int) -> None:
        for _ in range(25):
            answer = raw.signed("GET", path)
            assert answer.body in versions
            assert answer.headers["etag"] == f'"{hashlib.md5(answer.body).hexdigest()}"'
        copy = client.copy_object(Bucket=bucket, Key=f"copy-{number}", CopySource=source)
        body = client.get_object(Bucket=bucket, Key=f"copy-{number}")["Body"].read()
        assert copy["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(write, number) for number in range(4)]
        work += [pool.submit(read, number) for number in range(4)]
        for item in work:
            item.result(timeout=60)


def test_what_is_missing_has_its_name(raw: Raw, client: S3Client, bucket: str) -> None:
    for method, path, code, name in (
        ("GET", f"/{bucket}/absent", "NoSuchKey", "Key"),
        ("GET", "/absent-bucket/k", "NoSuchBucket", "BucketName"),
        ("PUT", "/absent-bucket/k", "NoSuchBucket", "BucketName"),
        ("DELETE", "/absent-bucket", "NoSuchBucket", "BucketName"),
        ("GET", f"/{bucket}/{'x' * 1025}", "KeyTooLongError", "MaxSizeAllowed"),
        ("PUT", "/Bad_Name", "InvalidBucketName", "BucketName"),
        ("GET", "//k", "InvalidBucketName", "BucketName"),
    ):
        answer = raw.signed(method, path, b"" if method == "PUT" else None)
        assert answer.code == code
        assert answer.element(name) or path == "//k"
        assert answer.element("RequestId") == answer.headers["x-amz-request-id"]
    listed = raw.signed("GET", "/absent-bucket", query={"list-type": "2"})
    assert listed.code == "NoSuchBucket"
    client.delete_object(Bucket=bucket, Key="absent")
