"""The headers that describe an object: stored with it, returned with it, or refused."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.s3.errors import S3Error
from sandbox.s3.operations.conditions import http_date
from sandbox.s3.storage.catalog import StoredObject

MAX_METADATA_BYTES = 2048
ACCOUNT_ID = "000000000000"

_STORED = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
_OVERRIDES = {f"response-{name}": name for name in _STORED}
_META = "x-amz-meta-"
# Asking for any of these and getting a plain success would be a lie.
_UNSUPPORTED_PREFIXES = (
    "x-amz-object-lock-",
    "x-amz-grant-",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption-",
    "x-amz-copy-source-server-side-encryption-",
    "x-amz-write-offset-bytes",
    "x-amz-bypass-governance-retention",
    "x-amz-mfa",
    "x-amz-tagging",
)


def check_supported(headers: Mapping[str, str]) -> None:
    """Refuses the headers that ask for what this server does not do."""
    for name in headers:
        if name.startswith(_UNSUPPORTED_PREFIXES):
            raise S3Error("NotImplemented", Header=name)
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    if encryption != "AES256":
        raise S3Error("NotImplemented", Header="x-amz-server-side-encryption")
    # Buckets have ACLs disabled, as new buckets on S3 have.
    if headers.get("x-amz-acl", "private") not in ("private", "bucket-owner-full-control"):
        raise S3Error("AccessControlListNotSupported")
    if headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise S3Error("InvalidStorageClass")
    if headers.get("x-amz-request-payer", "requester") != "requester":
        raise S3Error("InvalidArgument", ArgumentName="x-amz-request-payer")
    for name in ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"):
        if headers.get(name, ACCOUNT_ID) != ACCOUNT_ID:
            raise S3Error("AccessDenied")


def stored_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The metadata that a write declares for its object."""
    stored = {name: headers[name] for name in _STORED if name in headers}
    encodings = [item.strip() for item in stored.pop("content-encoding", "").split(",")]
    encoding = ",".join(item for item in encodings if item and item != "aws-chunked")
    if encoding:
        stored["content-encoding"] = encoding
    stored.setdefault("content-type", "binary/octet-stream")
    metadata = {name: value for name, value in headers.items() if name.startswith(_META)}
    size = sum(len(name) - len(_META) + len(value) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise S3Error("MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(MAX_METADATA_BYTES))
    return {**stored, **metadata}


def response_headers(found: StoredObject, query: Mapping[str, str]) -> dict[str, str]:
    """The headers of a read, with the overrides that the query asks for."""
    headers = {
        "ETag": f'"{found.etag}"',
        "Last-Modified": http_date(found.modified),
        "Accept-Ranges": "bytes",
        "x-amz-server-side-encryption": "AES256",
        **found.headers,
    }
    for parameter, name in _OVERRIDES.items():
        if parameter in query:
            value = query[parameter].strip()
            if any(ord(char) < 32 or ord(char) == 127 or ord(char) > 255 for char in value):
                raise S3Error("InvalidArgument", ArgumentName=parameter)
            headers[name] = value
    return headers
