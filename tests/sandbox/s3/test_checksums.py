"""Checksums: combining, and what the server refuses."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sandbox.s3.verification.checksums import DIGEST_BYTES, Digests, joined_crc32
from tests.sandbox.s3.raw import Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def digest(algorithm: str, data: bytes) -> str:
    digests = Digests(algorithm)
    digests.update(data)
    assert digests.checksum is not None
    return digests.checksum.value


@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_the_crc_of_parts_is_that_of_the_whole(pieces: list[bytes]) -> None:
    parts = [(digest("CRC32", piece), len(piece)) for piece in pieces]
    assert joined_crc32(parts) == digest("CRC32", b"".join(pieces))


@pytest.mark.parametrize("algorithm", list(DIGEST_BYTES))
def test_every_algorithm_is_checked_and_returned(raw: Raw, bucket: str, algorithm: str) -> None:
    name = f"x-amz-checksum-{algorithm.lower()}"
    value = digest(algorithm, b"data")
    path = f"/{bucket}/k"
    assert raw.signed("PUT", path, b"data", headers={name: value}).headers[name] == value
    head = raw.signed("HEAD", path, headers={"x-amz-checksum-mode": "ENABLED"})
    assert (head.headers[name], head.headers["x-amz-checksum-type"]) == (value, "FULL_OBJECT")
    assert name not in raw.signed("HEAD", path).headers
    ranged = {"x-amz-checksum-mode": "ENABLED", "Range": "bytes=0-1"}
    assert name not in raw.signed("GET", path, headers=ranged).headers
    assert raw.signed("PUT", path, b"else", headers={name: value}).code == "BadDigest"
    for broken in ("", "AAA", base64.b64encode(b"x").decode()):
        assert raw.signed("PUT", path, b"data", headers={name: broken}).code == "InvalidRequest"
    assert raw.signed("GET", path).body == b"data"


def test_claims_that_contradict_each_other(raw: Raw, bucket: str) -> None:
    crc = base64.b64encode(zlib.crc32(b"data").to_bytes(4, "big")).decode()
    sha = base64.b64encode(hashlib.sha1(b"data").digest()).decode()
    for headers in (
        {"x-amz-checksum-crc32": crc, "x-amz-checksum-sha1": sha},
        {"x-amz-checksum-crc32": crc, "x-amz-sdk-checksum-algorithm": "SHA1"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-checksum-md4": sha},
        {"x-amz-checksum-crc64nvme": sha},
    ):
        assert raw.signed("PUT", f"/{bucket}/k", b"data", headers=headers).code == "InvalidRequest"


def test_content_md5(client: S3Client, bucket: str) -> None:
    good = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"else").digest()).decode()
    put: Any = {"Bucket": bucket, "Key": "k", "Body": b"data"}
    client.put_object(ContentMD5=good, **put)
    for value, code in ((wrong, "BadDigest"), ("AAAA", "InvalidDigest"), ("?", "InvalidDigest")):
        with pytest.raises(ClientError, match=code):
            client.put_object(ContentMD5=value, **put)
