"""Listings of multipart uploads and of the parts of one."""

from __future__ import annotations

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.operations.listings import MAX_KEYS, Encoder, common_prefix
from sandbox.s3.operations.multipart import MAX_PARTS, find_upload
from sandbox.s3.service import Call
from sandbox.s3.storage.uploads import Part, Upload

_IDENTITY = xml.group("Initiator", xml.OWNER) + xml.group("Owner", xml.OWNER)


async def list_parts(call: Call) -> Response:
    upload = find_upload(call)
    request = call.request
    after = request.number("part-number-marker", 0, low=0, high=MAX_PARTS)
    limit = request.number("max-parts", MAX_KEYS, low=0, high=MAX_KEYS)
    parts = call.service.uploads.parts(upload, after, limit + 1)
    truncated = len(parts) > limit
    parts = parts[:limit]
    return xml_response(
        "ListPartsResult",
        xml.element("Bucket", call.bucket),
        xml.element("Key", call.key),
        xml.element("UploadId", upload.id),
        xml.element("PartNumberMarker", after),
        xml.element("NextPartNumberMarker", parts[-1].number if parts else 0),
        xml.element("MaxParts", limit),
        xml.element("IsTruncated", truncated),
        _IDENTITY,
        xml.element("StorageClass", "STANDARD"),
        _checksum(upload),
        *[_part(part) for part in parts],
    )


def _checksum(upload: Upload) -> str:
    if not upload.with_checksum:
        return ""
    return xml.element("ChecksumAlgorithm", "CRC32") + xml.element("ChecksumType", "FULL_OBJECT")


def _part(part: Part) -> str:
    return xml.group(
        "Part",
        xml.element("PartNumber", part.number),
        xml.element("LastModified", xml.moment(part.modified)),
        xml.element("ETag", f'"{part.etag}"'),
        xml.element("Size", part.size),
        xml.element("ChecksumCRC32", part.crc32) if part.crc32 else "",
    )


async def list_uploads(call: Call) -> Response:
    request = call.request
    call.service.catalog.require_bucket(call.bucket)
    encoder = Encoder(request)
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    key_marker = request.query.get("key-marker", "")
    id_marker = request.query.get("upload-id-marker", "") if key_marker else ""
    limit = request.number("max-uploads", MAX_KEYS, low=1, high=MAX_KEYS)
    uploads = [
        upload
        for upload in call.service.uploads.listing(call.bucket)
        if upload.key.startswith(prefix)
    ]
    uploads = _behind(uploads, key_marker, id_marker)
    shown: list[Upload] = []
    prefixes: list[str] = []
    truncated = False
    next_key, next_id = "", ""
    for upload in uploads:
        common = common_prefix(upload.key, prefix, delimiter)
        if common and (common in prefixes or common == key_marker):
            continue
        if len(shown) + len(prefixes) == limit:
            truncated = True
            break
        if common:
            prefixes.append(common)
            next_key, next_id = common, ""
        else:
            shown.append(upload)
            next_key, next_id = upload.key, upload.id
    return xml_response(
        "ListMultipartUploadsResult",
        xml.element("Bucket", call.bucket),
        encoder.element("KeyMarker", key_marker),
        xml.element("UploadIdMarker", id_marker),
        encoder.element("NextKeyMarker", next_key) if truncated else "",
        xml.element("NextUploadIdMarker", next_id) if truncated else "",
        encoder.element("Prefix", prefix),
        encoder.element("Delimiter", delimiter) if delimiter else "",
        xml.element("MaxUploads", limit),
        encoder.note,
        xml.element("IsTruncated", truncated),
        *[_upload(upload, encoder) for upload in shown],
        *[xml.group("CommonPrefixes", encoder.element("Prefix", item)) for item in prefixes],
    )


def _behind(uploads: list[Upload], key_marker: str, id_marker: str) -> list[Upload]:
    """The uploads after the markers, in the order of the listing."""
    if not key_marker:
        return uploads
    if id_marker:
        for index, upload in enumerate(uploads):
            if upload.key == key_marker and upload.id == id_marker:
                return uploads[index + 1 :]
        if any(upload.key == key_marker for upload in uploads):
            raise S3Error("InvalidArgument", "Invalid uploadId marker")
    low = key_marker.encode()
    return [upload for upload in uploads if upload.key.encode() > low]


def _upload(upload: Upload, encoder: Encoder) -> str:
    return xml.group(
        "Upload",
        encoder.element("Key", upload.key),
        xml.element("UploadId", upload.id),
        _IDENTITY,
        xml.element("StorageClass", "STANDARD"),
        xml.element("Initiated", xml.moment(upload.initiated)),
        _checksum(upload),
    )
