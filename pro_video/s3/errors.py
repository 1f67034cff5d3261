"""Translates S3's errors and boto3's exceptions into errors of this project.

The original exception is dropped everywhere (``raise … from None``): its text may have signed
addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import urllib3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from pro_video.core.errors import (
    ProVideoError,
    SourceRefused,
    StorageRefused,
    StorageUnavailable,
    TransferInterrupted,
)

STORAGE_ERRORS = (BotoCoreError, ClientError, urllib3.exceptions.HTTPError)
"""Exceptions of a boto3 client and of the bodies of its responses, for a well-formed call."""

_UNAVAILABLE = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "RequestLimitExceeded",
        "ConditionalRequestConflict",
        "503",
        "500",
    }
)
_DAMAGED = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
        "IncompleteBody",
        "InvalidPart",
        "InvalidPartOrder",
        "NoSuchUpload",
    }
)
_MISSING = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchVersion"})
_CHANGED = frozenset({"PreconditionFailed", "412"})
_ADVICE = {
    "NoSuchBucket": "The bucket does not exist; check the name and the region in the block.",
    "AccessDenied": "Check the policy of the credentials for this bucket.",
    "403": "Check the policy of the credentials for this bucket.",
    "InvalidAccessKeyId": "The access key is unknown there; check the credentials block.",
    "SignatureDoesNotMatch": "The secret key does not match; check the credentials block.",
    "RequestTimeTooSkewed": "The clock of this machine is wrong; set it.",
    "ExpiredToken": "The temporary credentials ran out; renew them.",
}


def error_code(error: ClientError) -> str:
    """S3's own code of an error, for example ``NoSuchKey``; for a HEAD only the status as text."""
    return str(error.response.get("Error", {}).get("Code", "")) or str(status(error))


def status(error: ClientError) -> int:
    """HTTP status of an error, 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: ClientError) -> bool:
    """True when the object, and not the bucket, is missing."""
    return error_code(error) in _MISSING


def storage_error(error: Exception, doing: str) -> ProVideoError:
    """Translate one of :data:`STORAGE_ERRORS`.

    Args:
        error: the client's exception.
        doing: completes "S3 … while {doing}", for example ``"reading jobs/1/video.mp4"``;
            without secrets.
    """
    if isinstance(error, ClientError):
        return _client_error(error, doing)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StorageRefused(
            f"There are no usable S3 credentials for {doing}. Fill in the credentials block.",
            code="no_credentials",
        )
    passing = (ConnectionError, HTTPClientError, IncompleteReadError, urllib3.exceptions.HTTPError)
    if isinstance(error, passing):
        return StorageUnavailable(
            f"S3 did not answer while {doing} ({type(error).__name__}). Try again later.",
            code=type(error).__name__,
        )
    return StorageRefused(
        f"The S3 client failed while {doing} ({type(error).__name__}). Check the blocks.",
        code=type(error).__name__,
    )


def _client_error(error: ClientError, doing: str) -> ProVideoError:
    code = error_code(error)
    metadata = error.response.get("ResponseMetadata", {})
    request_id = metadata.get("RequestId")
    if code in _DAMAGED:
        return TransferInterrupted(
            f"S3 rejected a transfer while {doing} ({code}). Try again.",
            code=code,
            request_id=request_id,
        )
    if code in _MISSING:
        return SourceRefused(
            f"There is no such object ({doing}). Check the address.",
            code="not_found",
            request_id=request_id,
        )
    if code in _CHANGED:
        return SourceRefused(
            f"The object changed meanwhile ({doing}). Run again once it is complete.",
            code="source_changed",
            request_id=request_id,
        )
    if code in _UNAVAILABLE or status(error) >= 500 or status(error) == 429:
        return StorageUnavailable(
            f"S3 is not available while {doing} ({code}). Try again later.",
            code=code,
            request_id=request_id,
        )
    return StorageRefused(
        f"S3 refused the call while {doing} ({code}). {_ADVICE.get(code, 'Check the blocks.')}",
        code=code,
        request_id=request_id,
    )


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate boto3's exceptions of the block into errors of this project."""
    try:
        yield
    except STORAGE_ERRORS as error:
        raise storage_error(error, doing) from None
