"""Multipart uploads: create, upload a part, complete, abort."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.operations.conditions import write_condition
from sandbox.s3.operations.object_headers import stored_headers
from sandbox.s3.service import XML_LIMIT_BYTES, Call
from sandbox.s3.storage.catalog import Segment, StoredObject
from sandbox.s3.storage.uploads import Part, Upload
from sandbox.s3.verification.checksums import Checksum, joined_crc32
from sandbox.s3.verification.payload import Payload

MAX_PARTS = 10_000
MIN_PART_BYTES = 5 * 1024**2


async def create_upload(call: Call) -> Response:
    headers = call.request.headers
    algorithm = headers.get("x-amz-checksum-algorithm", "").upper() or None
    kind = headers.get("x-amz-checksum-type", "").upper() or None
    if algorithm not in (None, "CRC32"):
        raise S3Error("NotImplemented", Header="x-amz-checksum-algorithm")
    if kind not in (None, "FULL_OBJECT"):
        raise S3Error("NotImplemented", Header="x-amz-checksum-type")
    if kind is not None and algorithm is None:
        raise S3Error(
            "InvalidRequest",
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm "
            "header.",
        )
    upload = call.service.uploads.create(
        call.bucket, call.key, stored_headers(headers), with_checksum=algorithm is not None
    )
    response = xml_response(
        "InitiateMultipartUploadResult",
        xml.element("Bucket", call.bucket),
        xml.element("Key", call.key),
        xml.element("UploadId", upload.id),
    )
    if upload.with_checksum:
        response.headers["x-amz-checksum-algorithm"] = "CRC32"
        response.headers["x-amz-checksum-type"] = "FULL_OBJECT"
    return response


def find_upload(call: Call) -> Upload:
    upload_id = call.request.query.get("uploadId", "")
    return call.service.uploads.require(call.bucket, call.key, upload_id)


def is_part_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= MAX_PARTS


def part_number(call: Call) -> int:
    text = call.request.query.get("partNumber", "")
    if not is_part_number(text):
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text[:100],
        )
    return int(text)


async def upload_part(call: Call) -> Response:
    number = part_number(call)
    upload = find_upload(call)
    payload = Payload(call.request, call.authorization)
    claimed = payload.claim.algorithm if payload.claim else None
    # SDKs add a CRC32 to each part unasked, so an upload without an algorithm takes any.
    if claimed not in (None, "CRC32") and upload.with_checksum:
        raise S3Error(
            "InvalidRequest",
            "Checksum Type mismatch occurred, expected checksum Type: crc32, actual checksum "
            f"Type: {claimed.lower()}",
        )
    with call.service.blobs.stage() as staged:
        received = await payload.receive(
            staged.write, default="CRC32" if upload.with_checksum else None
        )
        checksum = received.checksum
        crc32 = checksum.value if checksum and upload.with_checksum else None
        call.service.uploads.add_part(
            upload, number, staged.keep(), received.size, received.etag, crc32
        )
    headers = {"ETag": f'"{received.etag}"', "x-amz-server-side-encryption": "AES256"}
    if checksum:
        headers |= checksum.headers(with_type=False)
    return Response(headers=headers)


@dataclass(frozen=True, slots=True)
class _Named:
    """A part as the client names it on completion."""

    number: int
    etag: str
    crc32: str | None


async def complete_upload(call: Call) -> Response:
    find_upload(call)
    payload = Payload(call.request, call.authorization, body_checksum=False)
    named = _named_parts(await payload.read(XML_LIMIT_BYTES))
    condition = write_condition(call.request.headers)
    # No await from here on, so that no part is replaced or aborted between check and use.
    upload = find_upload(call)
    chosen = _choose(named, call.service.uploads.parts(upload), upload)
    checksum = _whole_checksum(call, upload, chosen)
    _check_size(call, chosen)
    md5s = b"".join(bytes.fromhex(part.etag) for part in chosen)
    digest = hashlib.md5(md5s, usedforsecurity=False).hexdigest()
    stored = StoredObject(
        call.bucket,
        call.key,
        f"{digest}-{len(chosen)}",
        call.service.catalog.now(),
        upload.headers,
        checksum,
        [Segment(part.blob, part.size) for part in chosen],
    )
    call.service.catalog.put(stored, condition, upload=upload.id)
    host = call.request.headers.get("host", "")
    return xml_response(
        "CompleteMultipartUploadResult",
        xml.element("Location", f"http://{host}{call.request.path}"),
        xml.element("Bucket", call.bucket),
        xml.element("Key", call.key),
        xml.element("ETag", f'"{stored.etag}"'),
        xml.element(checksum.element, checksum.value) if checksum else "",
        xml.element("ChecksumType", "FULL_OBJECT") if checksum else "",
    )


def _named_parts(body: bytes) -> list[_Named]:
    nodes = xml.parse(body, "CompleteMultipartUpload").children("Part")
    if not 0 < len(nodes) <= MAX_PARTS:
        raise S3Error("MalformedXML")
    named: list[_Named] = []
    for node in nodes:
        number = node.required("PartNumber").strip()
        if not is_part_number(number):
            raise S3Error("MalformedXML")
        etag = node.required("ETag").strip().strip('"')
        named.append(_Named(int(number), etag, node.value("ChecksumCRC32")))
    numbers = [part.number for part in named]
    if any(second <= first for first, second in pairwise(numbers)):
        raise S3Error("InvalidPartOrder")
    return named


def _choose(named: Sequence[_Named], parts: Sequence[Part], upload: Upload) -> list[Part]:
    stored = {part.number: part for part in parts}
    chosen: list[Part] = []
    for item in named:
        part = stored.get(item.number)
        wrong = part is None or part.etag != item.etag
        if part is not None and part.crc32 is not None and item.crc32 is not None:
            wrong = wrong or part.crc32 != item.crc32.strip()
        if part is None or wrong:
            raise S3Error(
                "InvalidPart", UploadId=upload.id, PartNumber=str(item.number), ETag=item.etag[:100]
            )
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < MIN_PART_BYTES:
            raise S3Error(
                "EntityTooSmall",
                ProposedSize=str(part.size),
                MinSizeAllowed=str(MIN_PART_BYTES),
                PartNumber=str(part.number),
                ETag=part.etag,
            )
    return chosen


def _whole_checksum(call: Call, upload: Upload, chosen: Sequence[Part]) -> Checksum | None:
    headers = call.request.headers
    kind = headers.get("x-amz-checksum-type", "").upper() or None
    if kind is not None and (kind != "FULL_OBJECT" or not upload.with_checksum):
        raise S3Error(
            "InvalidRequest",
            "The complete request must use the checksum mode that the upload was created with, "
            f"not {kind[:20]}.",
        )
    if not upload.with_checksum:
        return None
    value = joined_crc32([(part.crc32 or "", part.size) for part in chosen])
    if headers.get("x-amz-checksum-crc32", value) != value:
        raise S3Error("BadDigest", "The crc32 you specified did not match the calculated checksum.")
    return Checksum("CRC32", value)


def _check_size(call: Call, chosen: Sequence[Part]) -> None:
    claimed = call.request.headers.get("x-amz-mp-object-size")
    size = sum(part.size for part in chosen)
    if claimed is not None and claimed != str(size):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {claimed[:20]} does not match "
            f"what was computed: {size}",
        )


async def abort_upload(call: Call) -> Response:
    call.service.uploads.abort(find_upload(call))
    return Response(204)
