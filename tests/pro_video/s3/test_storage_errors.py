"""The meaning of S3's errors: all of them enumerated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError

from pro_video.core.errors import (
    ProVideoError,
    SourceRefused,
    StorageRefused,
    StorageUnavailable,
    TransferInterrupted,
)
from pro_video.s3.errors import STORAGE_ERRORS, storage_error
from pro_video.s3.storage import Storage, make_client
from tests.support.source_server import SourceFile, SourceServer
from tests.support.storage import REGION

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TABLE = [
    ("InternalError", 500, StorageUnavailable),
    ("ServiceUnavailable", 503, StorageUnavailable),
    ("SlowDown", 503, StorageUnavailable),
    ("RequestTimeout", 400, StorageUnavailable),
    ("OperationAborted", 409, StorageUnavailable),
    ("ConditionalRequestConflict", 409, StorageUnavailable),
    ("Throttling", 400, StorageUnavailable),
    ("TooManyRequests", 429, StorageUnavailable),
    ("500", 500, StorageUnavailable),
    ("502", 502, StorageUnavailable),
    ("503", 503, StorageUnavailable),
    ("SomethingNew", 507, StorageUnavailable),
    ("AccessDenied", 403, StorageRefused),
    ("403", 403, StorageRefused),
    ("AllAccessDisabled", 403, StorageRefused),
    ("InvalidAccessKeyId", 403, StorageRefused),
    ("SignatureDoesNotMatch", 403, StorageRefused),
    ("ExpiredToken", 400, StorageRefused),
    ("RequestTimeTooSkewed", 403, StorageRefused),
    ("NoSuchBucket", 404, StorageRefused),
    ("PermanentRedirect", 301, StorageRefused),
    ("AuthorizationHeaderMalformed", 400, StorageRefused),
    ("InvalidArgument", 400, StorageRefused),
    ("EntityTooLarge", 400, StorageRefused),
    ("MethodNotAllowed", 405, StorageRefused),
    ("SomethingNew", 418, StorageRefused),
    ("NoSuchKey", 404, SourceRefused),
    ("404", 404, SourceRefused),
    ("PreconditionFailed", 412, SourceRefused),
    ("412", 412, SourceRefused),
    ("BadDigest", 400, TransferInterrupted),
    ("InvalidPart", 400, TransferInterrupted),
    ("IncompleteBody", 400, TransferInterrupted),
    ("NoSuchUpload", 404, TransferInterrupted),
    ("XAmzContentChecksumMismatch", 400, TransferInterrupted),
]
LEAK = "https://bucket.s3.amazonaws.com/k?X-Amz-Signature=SECRET"


@pytest.mark.parametrize(("code", "status", "kind"), TABLE)
def test_answers_of_s3(code: str, status: int, kind: type[ProVideoError]) -> None:
    error = ClientError(
        {
            "Error": {"Code": code, "Message": LEAK},
            "ResponseMetadata": {  # type: ignore[typeddict-item]
                "HTTPStatusCode": status,
                "RequestId": "REQ1",
            },
        },
        "PutObject",
    )
    meaning = storage_error(error, "storing k")
    assert type(meaning) is kind
    assert meaning.request_id == "REQ1"
    assert "storing k" in meaning.message
    assert meaning.message.endswith(".")
    assert "SECRET" not in meaning.message


UNAVAILABLE = {
    "ConnectionError",
    "EndpointConnectionError",
    "SSLError",
    "ConnectionClosedError",
    "ReadTimeoutError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "ResponseStreamingError",
    "HTTPClientError",
    "IncompleteReadError",
}


def every_botocore_error() -> list[type[Exception]]:
    return [
        kind
        for kind in vars(botocore.exceptions).values()
        if isinstance(kind, type)
        and issubclass(kind, (botocore.exceptions.BotoCoreError, ClientError))
    ]


def test_every_exception_of_the_client_has_a_meaning() -> None:
    kinds = every_botocore_error()
    assert len(kinds) > 60
    for kind in kinds:
        if issubclass(kind, ClientError):
            continue
        error = kind.__new__(kind)
        Exception.__init__(error, LEAK)
        assert isinstance(error, STORAGE_ERRORS)
        meaning = storage_error(error, "storing k")
        expected = StorageUnavailable if kind.__name__ in UNAVAILABLE else StorageRefused
        assert type(meaning) is expected, kind
        assert "SECRET" not in meaning.message


def test_every_exception_of_a_broken_body_is_transient() -> None:
    for error in (
        urllib3.exceptions.ProtocolError(LEAK),
        urllib3.exceptions.IncompleteRead(1, 2),
        urllib3.exceptions.DecodeError(LEAK),
    ):
        assert isinstance(error, STORAGE_ERRORS)
        assert type(storage_error(error, "reading k")) is StorageUnavailable


async def test_wrong_credentials_and_buckets_are_terminal(
    make_storage: Callable[..., Storage], s3_endpoint: str, s3_client: S3Client
) -> None:
    for access_key, secret_key in (("nobody", "x"), ("test-access-key", "CANARY-SECRET")):
        client = make_client(
            endpoint_url=s3_endpoint, region=REGION, access_key=access_key, secret_key=secret_key
        )
        with pytest.raises(StorageRefused) as caught:
            await make_storage(client=client).put_bytes("k", b"data")
        client.close()
        assert "CANARY" not in str(caught.value)
    with pytest.raises(StorageRefused) as caught:
        await make_storage(bucket="no-such-bucket").put_bytes("k", b"data")
    assert "bucket" in caught.value.message


async def test_a_server_that_is_away_is_transient(
    make_storage: Callable[..., Storage], once_client: S3Client, faults: Callable[..., None]
) -> None:
    storage = make_storage(client=once_client)
    for kind in ("500", "503_slow_down", "drop_connection"):
        faults({"call": "any", "kind": kind, "match": {"key": "away"}})
        with pytest.raises(StorageUnavailable):
            await storage.put_bytes("away", b"data")
    client = make_client(
        endpoint_url="http://127.0.0.1:9", region=REGION, access_key="a", secret_key="b"
    )
    gone = make_storage(client=client)
    link = await gone.presign("k", 60)
    assert link.startswith("http://127.0.0.1:9/")
    client.close()


async def test_no_secret_reaches_the_log(
    storage: Storage, source: SourceServer, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    # boto3's own debug log is not ours to keep quiet; everything else is listened to.
    caplog.set_level(logging.DEBUG)
    for noisy in ("botocore", "boto3", "urllib3"):
        caplog.set_level(logging.INFO, noisy)
    url = source.add("/v.mp4", SourceFile(b"data", statuses=[503], headers={"Bad Header": "x"}))
    await storage.fetch(url + "?X-Amz-Signature=CANARY-SOURCE", key)
    link = await storage.presign(key, 60)
    signature = link.partition("X-Amz-Signature=")[2]
    assert len(signature) == 64
    assert "CANARY-SOURCE" not in caplog.text
    assert signature not in caplog.text
    assert "test-secret-key" not in caplog.text
