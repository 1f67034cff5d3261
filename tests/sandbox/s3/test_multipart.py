"""Multipart uploads: the rules that S3 holds, and checksums from the parts to the whole."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.sandbox.s3.raw import Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
PARTS = [os.urandom(5 * MIB), os.urandom(5 * MIB + 17), b"tail"]
WHOLE = b"".join(PARTS)


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def send_parts(client: S3Client, bucket: str, upload: str, order: tuple[int, ...]) -> list[Any]:
    """Uploads PARTS in an order and returns the completion's list, by part number."""
    done = []
    for index in order:
        number: Any = {"UploadId": upload, "PartNumber": index + 1}
        answer = client.upload_part(Bucket=bucket, Key="k", Body=PARTS[index], **number)
        done.append(named(index + 1, answer))
    return sorted(done, key=lambda part: int(part["PartNumber"]))


def named(number: int, answer: Any) -> dict[str, Any]:
    """A part as its completion names it."""
    return {"PartNumber": number} | {name: answer[name] for name in ("ETag", "ChecksumCRC32")}


def begin(client: S3Client, bucket: str, **options: Any) -> str:
    options = {"ChecksumAlgorithm": "CRC32"} | options
    return client.create_multipart_upload(Bucket=bucket, Key="k", **options)["UploadId"]


def complete(client: S3Client, bucket: str, upload: str, parts: list[Any], **more: Any) -> Any:
    return client.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}, **more
    )


def test_parts_out_of_order_become_one_object(client: S3Client, bucket: str) -> None:
    described: Any = {"ContentType": "video/mp4", "Metadata": {"job": "1"}}
    upload = begin(client, bucket, ChecksumType="FULL_OBJECT", **described)
    parts = send_parts(client, bucket, upload, (2, 0, 1))
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=bucket, Key="k")
    done = complete(
        client, bucket, upload, parts, MpuObjectSize=len(WHOLE), ChecksumCRC32=crc32(WHOLE)
    )
    md5s = b"".join(hashlib.md5(part).digest() for part in PARTS)
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (crc32(WHOLE), "FULL_OBJECT")
    # boto3 compares the content with a checksum of this type while it reads.
    got = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == WHOLE
    assert (got["ContentType"], got["Metadata"]) == ("video/mp4", {"job": "1"})
    assert (got["ChecksumCRC32"], got["ChecksumType"]) == (done["ChecksumCRC32"], "FULL_OBJECT")
    across = f"bytes={5 * MIB - 3}-{10 * MIB + 19}"
    ranged = client.get_object(Bucket=bucket, Key="k", Range=across)["Body"].read()
    assert ranged == WHOLE[5 * MIB - 3 : 10 * MIB + 20]
    with pytest.raises(ClientError, match="NotImplemented"):
        client.get_object(Bucket=bucket, Key="k", PartNumber=2)


def test_completion_is_refused_until_it_is_right(client: S3Client, bucket: str) -> None:
    upload = begin(client, bucket)
    parts = send_parts(client, bucket, upload, (0, 1, 2))
    wrong_etag = [parts[0] | {"ETag": '"0"'}, *parts[1:]]
    wrong_checksum = [parts[0] | {"ChecksumCRC32": crc32(b"else")}, *parts[1:]]
    absent = [*parts, parts[0] | {"PartNumber": 9}]
    for code, candidate, more in (
        ("InvalidPart", wrong_etag, {}),
        ("InvalidPart", wrong_checksum, {}),
        ("InvalidPart", absent, {}),
        ("InvalidPartOrder", [parts[1], parts[0]], {}),
        ("InvalidPartOrder", [parts[0], parts[0]], {}),
        ("MalformedXML", [], {}),
        ("EntityTooSmall", [parts[2] | {"PartNumber": 3}, parts[0] | {"PartNumber": 4}], {}),
        ("InvalidRequest", parts, {"MpuObjectSize": 1}),
        ("BadDigest", parts, {"ChecksumCRC32": crc32(b"else")}),
        ("InvalidRequest", parts, {"ChecksumType": "COMPOSITE"}),
    ):
        if code == "EntityTooSmall":
            place: Any = {"Bucket": bucket, "Key": "k", "UploadId": upload, "PartNumber": 4}
            assert client.upload_part(**place, Body=PARTS[0])["ETag"] == parts[0]["ETag"]
        with pytest.raises(ClientError, match=code):
            complete(client, bucket, upload, candidate, **more)
    complete(client, bucket, upload, parts)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        complete(client, bucket, upload, parts)


def test_completion_with_a_condition(client: S3Client, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="k", Body=b"first")
    upload = begin(client, bucket)
    parts = send_parts(client, bucket, upload, (2,))
    with pytest.raises(ClientError, match="PreconditionFailed"):
        complete(client, bucket, upload, parts, IfNoneMatch="*")
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"
    client.delete_object(Bucket=bucket, Key="k")
    complete(client, bucket, upload, parts, IfNoneMatch="*")
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == PARTS[2]


def test_checksum_rules_of_parts(client: S3Client, raw: Raw, bucket: str) -> None:
    # boto3 begins without an algorithm and adds a CRC32 to the part by itself.
    plain = client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part: Any = {"Bucket": bucket, "Key": "k", "PartNumber": 1, "Body": b"tail"}
    sent = client.upload_part(UploadId=plain, **part)
    assert sent["ChecksumCRC32"] == crc32(b"tail")
    complete(client, bucket, plain, [{"PartNumber": 1, "ETag": sent["ETag"]}])
    whole = begin(client, bucket, ChecksumType="FULL_OBJECT")
    with pytest.raises(ClientError, match=r"expected checksum Type: crc32, actual .* sha256"):
        client.upload_part(UploadId=whole, ChecksumAlgorithm="SHA256", **part)
    query = {"uploadId": whole, "partNumber": "1"}
    answer = raw.signed("PUT", f"/{bucket}/k", b"tail", query=query)
    assert answer.headers["x-amz-checksum-crc32"] == crc32(b"tail")
    for options in ({"ChecksumAlgorithm": "SHA256"}, {"ChecksumType": "COMPOSITE"}):
        with pytest.raises(ClientError, match="NotImplemented"):
            begin(client, bucket, **options)


def test_resuming_finds_what_was_sent(client: S3Client, bucket: str) -> None:
    upload = begin(client, bucket)
    parts = send_parts(client, bucket, upload, (0, 2))
    listed = client.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    found = [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed["Parts"]]
    assert found == [(1, 5 * MIB, parts[0]["ETag"]), (3, 4, parts[1]["ETag"])]
    assert [part["ChecksumCRC32"] for part in listed["Parts"]] == [crc32(PARTS[0]), crc32(b"tail")]
    pages = client.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="k", UploadId=upload, PaginationConfig={"PageSize": 1}
    )
    assert [[part["PartNumber"] for part in page["Parts"]] for page in pages] == [[1], [3]]
    client.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    for call in (client.list_parts, client.abort_multipart_upload):
        with pytest.raises(ClientError, match="NoSuchUpload"):
            call(Bucket=bucket, Key="k", UploadId=upload)


def test_listing_of_uploads(client: S3Client, bucket: str) -> None:
    ids: dict[str, list[str]] = {}
    for key in ("a/1", "a/2", "b", "b", "ü"):
        answer = client.create_multipart_upload(Bucket=bucket, Key=key)
        ids.setdefault(key, []).append(answer["UploadId"])
    rolled = client.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert rolled["CommonPrefixes"] == [{"Prefix": "a/"}]
    assert [item["UploadId"] for item in rolled["Uploads"]] == [*ids["b"], *ids["ü"]]
    pages = client.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 2}
    )
    found = [[item["Key"] for item in page["Uploads"]] for page in pages]
    assert found == [["a/1", "a/2"], ["b", "b"], ["ü"]]
    only = client.list_multipart_uploads(Bucket=bucket, Prefix="a/2")
    assert [item["UploadId"] for item in only["Uploads"]] == ids["a/2"]
    # A bucket may go with its unfinished uploads.
    client.delete_bucket(Bucket=bucket)


def test_copying_into_parts(client: S3Client, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="src", Body=WHOLE)
    upload = begin(client, bucket)
    source: Any = {"CopySource": {"Bucket": bucket, "Key": "src"}}
    target: Any = {"Bucket": bucket, "Key": "k", "UploadId": upload, **source}
    parts: list[Any] = []
    for number, (first, last) in enumerate([(0, 5 * MIB - 1), (5 * MIB, len(WHOLE) - 1)], 1):
        part = client.upload_part_copy(
            PartNumber=number, CopySourceRange=f"bytes={first}-{last}", **target
        )["CopyPartResult"]
        assert part["ETag"] == f'"{hashlib.md5(WHOLE[first : last + 1]).hexdigest()}"'
        parts.append(named(number, part))
    for bad in (f"bytes=0-{len(WHOLE)}", "bytes=5-", "0-5"):
        with pytest.raises(ClientError, match="InvalidArgument"):
            client.upload_part_copy(PartNumber=3, CopySourceRange=bad, **target)
    complete(client, bucket, upload, parts)
    # A copy of what came in parts has the ETag of the whole.
    copied = client.copy_object(
        Bucket=bucket, Key="again", CopySource={"Bucket": bucket, "Key": "k"}
    )["CopyObjectResult"]
    assert copied["ETag"] == f'"{hashlib.md5(WHOLE).hexdigest()}"'
    assert copied["ChecksumCRC32"] == crc32(WHOLE)
    assert client.get_object(Bucket=bucket, Key="again")["Body"].read() == WHOLE


def test_the_transfer_manager_goes_both_ways(client: S3Client, bucket: str) -> None:
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client.upload_fileobj(io.BytesIO(WHOLE), bucket, "k", Config=config)
    back = io.BytesIO()
    client.download_fileobj(bucket, "k", back, Config=config)
    assert back.getvalue() == WHOLE
    copy_source: Any = {"Bucket": bucket, "Key": "k"}
    client.copy(copy_source, bucket, "copy", Config=config)
    assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == WHOLE
