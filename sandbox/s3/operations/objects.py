"""Operations on single objects: put, get, head and delete."""

from __future__ import annotations

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.operations.conditions import check_read, requested_range, write_condition
from sandbox.s3.operations.object_headers import response_headers, stored_headers
from sandbox.s3.service import XML_LIMIT_BYTES, Call
from sandbox.s3.storage.catalog import Segment, StoredObject
from sandbox.s3.verification.payload import Payload

MAX_DELETE_KEYS = 1000


async def put_object(call: Call) -> Response:
    catalog = call.service.catalog
    catalog.require_bucket(call.bucket)
    payload = Payload(call.request, call.authorization)
    described = stored_headers(call.request.headers)
    condition = write_condition(call.request.headers)
    # Judged now to spare the transfer, and again when the object is made.
    condition.check(catalog.find(call.bucket, call.key), call.key)
    with call.service.blobs.stage() as staged:
        received = await payload.receive(staged.write)
        stored = StoredObject(
            call.bucket,
            call.key,
            received.etag,
            catalog.now(),
            described,
            received.checksum,
            [Segment(staged.keep(), received.size)],
        )
        catalog.put(stored, condition)
    headers = {"ETag": f'"{stored.etag}"', "x-amz-server-side-encryption": "AES256"}
    if received.checksum:
        headers |= received.checksum.headers(with_type=True)
    return Response(headers=headers)


async def get_object(call: Call) -> Response:
    """GetObject and, since no body is sent in answer to HEAD, HeadObject."""
    catalog, blobs, request = call.service.catalog, call.service.blobs, call.request
    if "partNumber" in request.query:
        raise S3Error("NotImplemented", Query="partNumber")
    found = catalog.require(call.bucket, call.key)
    headers = response_headers(found, request.query)
    if not check_read(request.headers, found):
        kept = ("ETag", "Last-Modified", "cache-control", "expires")
        return Response(304, {name: headers[name] for name in kept if name in headers})
    chosen = requested_range(request.headers, found)
    start, count = chosen or (0, found.size)
    if chosen:
        headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{found.size}"
    elif found.checksum and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= found.checksum.headers(with_type=True)
    blobs.pin(found.blobs)
    return Response(
        206 if chosen else 200,
        headers,
        pieces=catalog.pieces(found, start, count),
        release=lambda: blobs.unpin(found.blobs),
    )


async def delete_object(call: Call) -> Response:
    condition = write_condition(call.request.headers)
    call.service.catalog.delete(call.bucket, call.key, condition)
    return Response(204)


async def delete_objects(call: Call) -> Response:
    catalog = call.service.catalog
    catalog.require_bucket(call.bucket)
    root = await read_xml(call, "Delete")
    root.only("Object", "Quiet")
    quiet = root.value("Quiet") == "true"
    objects = root.children("Object")
    if not 0 < len(objects) <= MAX_DELETE_KEYS:
        raise S3Error("MalformedXML")
    for node in objects:
        # Before anything is deleted.
        if not node.required("Key"):
            raise S3Error("MalformedXML")
        if node.value("VersionId") not in (None, "", "null"):
            raise S3Error("NotImplemented", Element="VersionId")
    results: list[str] = []
    for node in objects:
        key = node.required("Key")
        name = xml.element("Key", key)
        try:
            etag = node.value("ETag")
            condition = write_condition({} if etag is None else {"if-match": etag})
            catalog.delete(call.bucket, key, condition)
        except S3Error as error:
            failed = (name, xml.element("Code", error.code), xml.element("Message", error.message))
            results.append(xml.group("Error", *failed))
            continue
        if not quiet:
            results.append(xml.group("Deleted", name))
    return xml_response("DeleteResult", *results)


async def read_xml(call: Call, root: str) -> xml.Node:
    """The XML body of an operation for which S3 insists on a checksum of the body."""
    payload = Payload(call.request, call.authorization)
    if not payload.protected:
        raise S3Error(
            "InvalidRequest",
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        )
    data = await payload.read(XML_LIMIT_BYTES)
    if not data:
        raise S3Error("MissingRequestBodyError")
    return xml.parse(data, root)
