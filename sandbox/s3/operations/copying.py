"""Copies inside the server: CopyObject and UploadPartCopy."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.operations.conditions import check_read, write_condition
from sandbox.s3.operations.multipart import find_upload, part_number
from sandbox.s3.operations.object_headers import stored_headers
from sandbox.s3.service import Call
from sandbox.s3.storage.blobs import Staged
from sandbox.s3.storage.catalog import Segment, StoredObject
from sandbox.s3.verification.checksums import DIGEST_BYTES, Checksum, Digests
from sandbox.s3.verification.payload import MAX_OBJECT_BYTES

_SOURCE = "x-amz-copy-source"
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)


async def copy_object(call: Call) -> Response:
    catalog = call.service.catalog
    catalog.require_bucket(call.bucket)
    condition = write_condition(call.request.headers)
    with _source(call) as source, call.service.blobs.stage() as staged:
        described = _description(call, source)
        algorithm = _algorithm(call, source)
        if source.size > MAX_OBJECT_BYTES:
            raise S3Error(
                "InvalidRequest",
                "The specified copy source is larger than the maximum allowable size for a copy "
                f"source: {MAX_OBJECT_BYTES}",
            )
        copied = await _copy_bytes(call, source, 0, source.size, staged, algorithm)
        stored = StoredObject(
            call.bucket,
            call.key,
            copied.md5.hexdigest(),
            catalog.now(),
            described,
            copied.checksum,
            [Segment(staged.keep(), source.size)],
        )
        catalog.put(stored, condition)
    return _result("CopyObjectResult", stored.etag, stored.modified, stored.checksum)


async def upload_part_copy(call: Call) -> Response:
    number = part_number(call)
    upload = find_upload(call)
    algorithm = "CRC32" if upload.with_checksum else None
    with _source(call) as source, call.service.blobs.stage() as staged:
        start, length = _source_range(call, source)
        copied = await _copy_bytes(call, source, start, length, staged, algorithm)
        crc32 = copied.checksum.value if copied.checksum else None
        etag = copied.md5.hexdigest()
        part = call.service.uploads.add_part(upload, number, staged.keep(), length, etag, crc32)
    return _result("CopyPartResult", part.etag, part.modified, copied.checksum)


def _result(name: str, etag: str, modified: float, checksum: Checksum | None) -> Response:
    return xml_response(
        name,
        xml.element("LastModified", xml.moment(modified)),
        xml.element("ETag", f'"{etag}"'),
        xml.element(checksum.element, checksum.value) if checksum else "",
    )


@contextmanager
def _source(call: Call) -> Iterator[StoredObject]:
    """The source of the copy, kept on disk while it is read."""
    text = call.request.headers[_SOURCE]
    path, _, query = text.partition("?")
    if query and query != "versionId=null":
        raise S3Error("NotImplemented", Query="versionId")
    try:
        path = urllib.parse.unquote_to_bytes(path.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
    bucket, slash, key = path.removeprefix("/").partition("/")
    if not slash or not key:
        raise S3Error(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName=_SOURCE,
        )
    found = call.service.catalog.require(bucket, key)
    check_read(call.request.headers, found, prefix=f"{_SOURCE}-")
    call.service.blobs.pin(found.blobs)
    try:
        yield found
    finally:
        call.service.blobs.unpin(found.blobs)


def _description(call: Call, source: StoredObject) -> Mapping[str, str]:
    value = call.request.headers.get("x-amz-metadata-directive", "COPY").upper()
    if value not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", "Unknown metadata directive.")
    keep = value == "COPY"
    if keep and (source.bucket, source.key) == (call.bucket, call.key):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself "
            "without changing the object's metadata, storage class, website redirect location "
            "or encryption attributes.",
        )
    return source.headers if keep else stored_headers(call.request.headers)


def _algorithm(call: Call, source: StoredObject) -> str | None:
    wanted = call.request.headers.get("x-amz-checksum-algorithm", "").upper()
    if wanted and wanted not in DIGEST_BYTES:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    return wanted or (source.checksum.algorithm if source.checksum else None)


async def _copy_bytes(
    call: Call, source: StoredObject, start: int, length: int, staged: Staged, algorithm: str | None
) -> Digests:
    """Appends a range of the source; a copy's ETag and checksum are those of its own bytes."""
    digests = Digests(algorithm)
    pieces = call.service.catalog.pieces(source, start, length)

    def append() -> None:
        for path, offset, count in pieces:
            staged.append_file(path, offset, count, digests)

    await asyncio.to_thread(append)
    return digests


def _source_range(call: Call, source: StoredObject) -> tuple[int, int]:
    text = call.request.headers.get(f"{_SOURCE}-range")
    if text is None:
        first, last = 0, source.size - 1
    else:
        match = _RANGE.fullmatch(text)
        if match is None:
            raise S3Error(
                "InvalidArgument",
                "The x-amz-copy-source-range value must be of the form bytes=first-last where "
                "first and last are the zero-based offsets of the first and last bytes to copy",
            )
        first, last = int(match[1]), int(match[2])
        if first > last or last >= source.size:
            raise S3Error(
                "InvalidArgument",
                f"Range specified is not valid for source object of size: {source.size}",
            )
    length = last - first + 1
    if length > MAX_OBJECT_BYTES:
        raise S3Error("EntityTooLarge", MaxSizeAllowed=str(MAX_OBJECT_BYTES))
    return first, length
