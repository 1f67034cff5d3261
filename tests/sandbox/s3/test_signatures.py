"""Authentication: signatures in headers, in queries and in chunks, and their time limits."""

from __future__ import annotations

import base64
import hashlib
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from sandbox.common.server import RunningServer
from sandbox.s3.verification.signature import Credentials
from tests.sandbox.s3.raw import ACCESS_KEY, SECRET_KEY, Answer, Raw, chunked, sign_headers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BAD_QUERY = "AuthorizationQueryParametersError"
DATA = b"0123456789abcdef" * 1024
CRC32 = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()


def target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def presigned(client: S3Client, method: str, bucket: str, key: str = "k", seconds: int = 60) -> str:
    params = {"Bucket": bucket, "Key": key}
    return target(client.generate_presigned_url(method, Params=params, ExpiresIn=seconds))


def test_presigned_urls(client: S3Client, raw: Raw, bucket: str) -> None:
    key = "ü &+=?/k"
    assert raw.unsigned("PUT", presigned(client, "put_object", bucket, key), DATA).status == 200
    assert raw.unsigned("GET", presigned(client, "get_object", bucket, key)).body == DATA
    head = raw.unsigned("HEAD", presigned(client, "head_object", bucket, key))
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(DATA)), b"")
    ranged = raw.unsigned(
        "GET", presigned(client, "get_object", bucket, key), headers={"Range": "bytes=0-3"}
    )
    assert (ranged.status, ranged.body) == (206, b"0123")
    assert raw.unsigned("DELETE", presigned(client, "delete_object", bucket, key)).status == 204


def test_a_presigned_url_is_good_for_what_was_signed_only(
    client: S3Client, raw: Raw, bucket: str
) -> None:
    url = presigned(client, "get_object", bucket)
    for method, changed in (
        ("GET", url.replace("/k?", "/other?")),
        ("GET", url + "&response-content-type=text/html"),
        ("GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")),
        ("PUT", url),
        ("GET", url[:-1] + ("0" if url[-1] != "0" else "1")),
    ):
        answer = raw.unsigned(method, changed)
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    smuggled = raw.unsigned("GET", url, headers={"x-amz-acl": "public-read"})
    assert (smuggled.code, smuggled.element("HeadersNotSigned")) == ("AccessDenied", "x-amz-acl")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("X-Amz-Expires=60", "X-Amz-Expires=604801"), BAD_QUERY),
        (("X-Amz-Expires=60", "X-Amz-Expires=-1"), BAD_QUERY),
        (("X-Amz-Expires=60", "X-Amz-Expires=0"), BAD_QUERY),
        (("&X-Amz-Expires=60", ""), BAD_QUERY),
        (("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=X"), BAD_QUERY),
        (("X-Amz-Date=2", "X-Amz-Date=x"), BAD_QUERY),
        (("us-east-1", "us-west-2"), BAD_QUERY),
        (("%2Fs3%2F", "%2Fec2%2F"), BAD_QUERY),
        (("aws4_request", "aws5_request"), BAD_QUERY),
        ((f"Credential={ACCESS_KEY}", "Credential=nobody"), "InvalidAccessKeyId"),
    ],
)
def test_broken_presigned_queries(
    client: S3Client, raw: Raw, bucket: str, change: tuple[str, str], code: str
) -> None:
    url = presigned(client, "get_object", bucket)
    assert change[0] in url
    assert raw.unsigned("GET", url.replace(*change)).code == code


def test_time_limits(
    serve: Callable[..., RunningServer], connect: Callable[[RunningServer], S3Client]
) -> None:
    offset = 0.0
    server = serve(now=lambda: time.time() + offset)
    client, raw = connect(server), Raw(server.url)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="k", Body=b"x")
    url = presigned(client, "get_object", "bucket", seconds=3600)
    offset = 3590
    assert raw.unsigned("GET", url).status == 200
    offset = 3610
    expired = raw.unsigned("GET", url)
    assert (expired.status, expired.code) == (403, "AccessDenied")
    assert expired.element("Message") == "Request has expired"
    offset = -1000
    early = raw.unsigned("GET", url)
    assert (early.code, early.element("Message")) == ("AccessDenied", "Request is not yet valid")
    skewed = "RequestTimeTooSkewed"
    for ahead, code in ((889, ""), (-889, ""), (910, skewed), (-910, skewed)):
        offset = ahead
        assert raw.signed("GET", "/bucket/k").code == code


def test_strangers_are_refused(raw: Raw, bucket: str) -> None:
    for method, path in (("GET", "/"), ("GET", f"/{bucket}/k"), ("PUT", f"/{bucket}/k")):
        answer = raw.unsigned(method, path, b"" if method == "PUT" else None)
        assert (answer.status, answer.code) == (403, "AccessDenied")
    wrong = sign_headers("GET", raw.host, "/", secret_key="wrong").headers
    unknown = sign_headers("GET", raw.host, "/", access_key="nobody").headers
    good = sign_headers("GET", raw.host, "/").headers
    unscoped = good["authorization"].replace("/s3/", "/")
    for target, headers, code in (
        ("/", wrong, "SignatureDoesNotMatch"),
        ("/", unknown, "InvalidAccessKeyId"),
        ("/", {"Authorization": f"AWS {ACCESS_KEY}:c2ln"}, "InvalidRequest"),
        (f"/?AWSAccessKeyId={ACCESS_KEY}&Signature=x", {}, "InvalidRequest"),
        ("/?X-Amz-Algorithm=AWS4-HMAC-SHA256", good, "InvalidArgument"),
        ("/", good | {"authorization": "AWS4-HMAC-SHA256 nothing"}, "AuthorizationHeaderMalformed"),
        ("/", good | {"authorization": unscoped}, "AuthorizationHeaderMalformed"),
        ("/", without(good, "x-amz-date"), "AccessDenied"),
        ("/", without(good, "x-amz-content-sha256"), "InvalidRequest"),
        ("/", good | {"x-amz-meta-x": "1"}, "AccessDenied"),
    ):
        assert raw.unsigned("GET", target, headers=headers).code == code
    assert raw.signed("GET", "/", headers={"x-amz-security-token": "t"}).code == "InvalidToken"
    assert raw.signed("GET", "/", payload_hash="rubbish").code == "InvalidArgument"


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {each: value for each, value in headers.items() if each != name}


def test_signed_payloads(raw: Raw, client: S3Client, bucket: str) -> None:
    path = f"/{bucket}/k"
    good = hashlib.sha256(DATA).hexdigest()
    assert raw.signed("PUT", path, DATA, payload_hash=good).status == 200
    bad = raw.signed("PUT", path, b"else" * 10, payload_hash=good)
    assert bad.code == "XAmzContentSHA256Mismatch"
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == DATA


def stream(
    raw: Raw,
    path: str,
    chunks: list[bytes],
    *,
    trailer: str | None = None,
    signed: bool = True,
    spoil: tuple[bytes, bytes] | None = None,
    length: int | None = None,
) -> Answer:
    """An aws-chunked upload; `spoil` replaces bytes after signing."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" if signed else "STREAMING-UNSIGNED-PAYLOAD"
    headers = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(sum(map(len, chunks)) if length is None else length),
    }
    if trailer is not None:
        kind += "-TRAILER"
        headers["x-amz-trailer"] = trailer.partition(":")[0]
    request = sign_headers("PUT", raw.host, path, headers=headers, payload_hash=kind)
    if signed:
        body = chunked(request, chunks, trailer)
    else:
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        body += f"0\r\n{trailer}\r\n\r\n".encode()
    if spoil:
        assert spoil[0] in body
        body = body.replace(*spoil, 1)
    return raw.unsigned("PUT", path, body, request.headers)


@pytest.mark.parametrize(
    ("signed", "trailer"),
    [
        (True, None),
        (True, f"x-amz-checksum-crc32:{CRC32}"),
        (False, f"x-amz-checksum-crc32:{CRC32}"),
        (
            False,
            f"x-amz-checksum-sha256:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}",
        ),
    ],
)
def test_aws_chunked_uploads(
    raw: Raw, client: S3Client, bucket: str, signed: bool, trailer: str | None
) -> None:
    chunks = [DATA[:8192], DATA[8192:]]
    assert stream(raw, f"/{bucket}/k", chunks, trailer=trailer, signed=signed).status == 200
    got = client.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == DATA
    assert "ContentEncoding" not in got


def test_aws_chunked_inside_of_http_chunks(raw: Raw, client: S3Client, bucket: str) -> None:
    """The form in which boto3 sends a body of unknown length over TLS."""
    headers = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(DATA)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    request = sign_headers(
        "PUT",
        raw.host,
        f"/{bucket}/k",
        headers=headers,
        payload_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    )
    body = b"%x\r\n%b\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % (len(DATA), DATA, CRC32.encode())
    framed = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (body[start : start + 777] for start in range(0, len(body), 777))
    )
    answer = raw.unsigned(
        "PUT",
        f"/{bucket}/k",
        framed + b"0\r\n\r\n",
        request.headers | {"Transfer-Encoding": "chunked"},
    )
    assert answer.status == 200
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == DATA


def test_spoiled_chunks(raw: Raw, client: S3Client, bucket: str) -> None:
    crc, wrong = f"x-amz-checksum-crc32:{CRC32}", "x-amz-checksum-crc32:AAAAAA=="
    spoil = (b"abcdef012", b"abcdef0X2")
    renamed = (b"x-amz-checksum-crc32:", b"x-amz-checksum-sha1:")
    spoiled: list[tuple[str, dict[str, Any]]] = [
        ("SignatureDoesNotMatch", {"spoil": spoil}),
        ("SignatureDoesNotMatch", {"trailer": crc, "spoil": (CRC32.encode(), b"AAAAAA==")}),
        ("BadDigest", {"trailer": wrong}),
        ("BadDigest", {"trailer": wrong, "signed": False}),
        ("BadDigest", {"trailer": crc, "signed": False, "spoil": spoil}),
        ("MalformedTrailerError", {"trailer": crc, "signed": False, "spoil": renamed}),
        ("IncompleteBody", {"length": len(DATA) - 1}),
        ("IncompleteBody", {"length": len(DATA) + 1}),
    ]
    for code, options in spoiled:
        assert stream(raw, f"/{bucket}/k", [DATA], **options).code == code
    small = stream(raw, f"/{bucket}/k", [DATA[:100], DATA[100:]])
    assert small.code == "InvalidChunkSizeError"
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_secrets_have_no_representation() -> None:
    assert SECRET_KEY not in repr(Credentials(ACCESS_KEY, SECRET_KEY))
