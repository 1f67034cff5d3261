"""Copies inside the server: CopyObject and UploadPartCopy."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Response
from sandbox.s3.operations.conditions import check_read, write_condition
from sandbox.s3.operations.description import read_description
from sandbox.s3.operations.multipart import find_upload, part_number
from sandbox.s3.service import Call, xml_response
from sandbox.s3.storage.blobs import Staged
from sandbox.s3.storage.catalog import Catalog, Reader, Segment, StoredObject
from sandbox.s3.verification import checksums
from sandbox.s3.verification.checksums import (
    DIGEST_BYTES,
    Checksum,
    Hasher,
    encode_digest,
)
from sandbox.s3.verification.payload import MAX_OBJECT_BYTES

_SOURCE = "x-amz-copy-source"
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)


def copy_object(call: Call) -> Response:
    catalog = call.service.catalog
    catalog.require_bucket(call.bucket)
    headers = call.request.headers
    condition = write_condition(headers.get("if-match"), headers.get("if-none-match"))
    with _source(call) as reader:
        source = reader.found
        described = _description(call, source)
        algorithm = _algorithm(call, source)
        if source.size > MAX_OBJECT_BYTES:
            raise S3Error(
                "InvalidRequest",
                "The specified copy source is larger than the maximum allowable size for a copy "
                f"source: {MAX_OBJECT_BYTES}",
            )
        etag, segment, checksum = _whole_copy(catalog, reader, algorithm)
        try:
            stored = catalog.put(
                call.bucket,
                call.key,
                [segment],
                etag=etag,
                headers=described,
                checksum=checksum,
                condition=condition,
            )
        except S3Error:
            catalog.blobs.remove([segment.blob])
            raise
    return xml_response(
        xml.document("CopyObjectResult", *_result(stored.etag, stored.modified, checksum))
    )


def upload_part_copy(call: Call) -> Response:
    number = part_number(call)
    upload = find_upload(call)
    with _source(call) as reader:
        start, length = _source_range(call, reader.found)
        with call.service.blobs.stage() as staged:
            algorithm = "CRC32" if upload.with_checksum else None
            md5, digest = _copy_bytes(reader, start, length, staged, algorithm)
            part = call.service.uploads.add_part(
                upload, number, staged.keep(), length, md5.hex(), digest
            )
    checksum = None
    if digest:
        checksum = Checksum("CRC32", encode_digest(digest))
    return xml_response(
        xml.document("CopyPartResult", *_result(part.etag, part.modified, checksum))
    )


def _result(etag: str, modified: float, checksum: Checksum | None) -> list[str]:
    result = [xml.element("LastModified", xml.moment(modified)), xml.element("ETag", f'"{etag}"')]
    if checksum:
        result.append(xml.element(checksum.element, checksum.value))
    return result


@contextmanager
def _source(call: Call) -> Iterator[Reader]:
    """The source of the copy, kept on disk while it is read."""
    text = call.request.headers[_SOURCE]
    path, _, query = text.partition("?")
    if query and query != "versionId=null":
        raise S3Error("NotImplemented", details={"Query": "versionId"})
    try:
        path = urllib.parse.unquote_to_bytes(path.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
    bucket, slash, key = path.removeprefix("/").partition("/")
    if not slash or not key:
        raise S3Error(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            details={"ArgumentName": _SOURCE},
        )
    with call.service.catalog.pinned(bucket, key) as reader:
        check_read(call.request.headers, reader.found, prefix=f"{_SOURCE}-")
        yield reader


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
    return source.headers if keep else read_description(call.request.headers)


def _algorithm(call: Call, source: StoredObject) -> str | None:
    wanted = call.request.headers.get("x-amz-checksum-algorithm", "").upper()
    if wanted and wanted not in DIGEST_BYTES:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    return wanted or (source.checksum.algorithm if source.checksum else None)


def _whole_copy(
    catalog: Catalog, reader: Reader, algorithm: str | None
) -> tuple[str, Segment, Checksum | None]:
    """A body with the source's content, its ETag and its checksum.

    A source from a single PUT is shared on disk. A multipart source is read, since a copy's ETag
    and checksum are those of the whole.
    """
    source = reader.found
    if (
        "-" not in source.etag
        and (source.checksum.algorithm if source.checksum else None) == algorithm
    ):
        segment = reader.segments[0]
        blob = catalog.blobs.share(segment.blob)
        if blob is not None:
            return source.etag, replace(segment, blob=blob), source.checksum
    with catalog.blobs.stage() as staged:
        md5, digest = _copy_bytes(reader, 0, source.size, staged, algorithm)
        checksum = None
        if algorithm and digest:
            checksum = Checksum(algorithm, encode_digest(digest))
        return md5.hex(), Segment(staged.keep(), source.size), checksum


def _copy_bytes(
    reader: Reader,
    start: int,
    length: int,
    staged: Staged,
    algorithm: str | None,
) -> tuple[bytes, bytes | None]:
    """Appends a range of the source; its MD5 and, with an algorithm, its checksum."""
    md5 = checksums.new_md5()
    hashers: list[Hasher] = [md5]
    checksum = checksums.new_hasher(algorithm) if algorithm else None
    if checksum:
        hashers.append(checksum)
    for piece in reader.pieces(start, length):
        staged.append_file(piece.path, piece.offset, piece.length, hashers)
    return md5.digest(), checksum.digest() if checksum else None


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
        raise S3Error("EntityTooLarge", details={"MaxSizeAllowed": str(MAX_OBJECT_BYTES)})
    return first, length
