"""Operations on single objects: put, get, head and delete."""

from __future__ import annotations

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Response
from sandbox.s3.operations.conditions import check_read, requested_range, write_condition
from sandbox.s3.operations.description import object_headers, read_description
from sandbox.s3.service import XML_LIMIT_BYTES, Call, xml_response
from sandbox.s3.storage.catalog import Reader, Segment
from sandbox.s3.verification.checksums import Checksum, encode_digest
from sandbox.s3.verification.payload import Payload

MAX_DELETE_KEYS = 1000


def put_object(call: Call) -> Response:
    catalog = call.service.catalog
    catalog.require_bucket(call.bucket)
    payload = Payload(call.request, call.authorization)
    described = read_description(call.request.headers)
    headers = call.request.headers
    condition = write_condition(headers.get("if-match"), headers.get("if-none-match"))
    # Judged now to spare the transfer, and again when the object is made.
    existing = catalog.find(call.bucket, call.key)
    condition.check(existing.etag if existing else None, call.key)
    with call.service.blobs.stage() as staged:
        received = payload.receive(staged.write)
        checksum = None
        if received.algorithm:
            checksum = Checksum(received.algorithm, encode_digest(received.digest))
        stored = catalog.put(
            call.bucket,
            call.key,
            [Segment(staged.keep(), received.size)],
            etag=received.md5.hex(),
            headers=described,
            checksum=checksum,
            condition=condition,
        )
    headers = {"ETag": f'"{stored.etag}"', "x-amz-server-side-encryption": "AES256"}
    if checksum:
        headers |= checksum.headers(with_type=True)
    return Response(headers=headers)


def get_object(call: Call) -> Response:
    """GetObject and, since the server drops the body of an answer to HEAD, HeadObject."""
    catalog = call.service.catalog
    reader = catalog.pin(call.bucket, call.key)
    response: Response | None = None
    try:
        response = _read(call, reader)
        response.release = lambda: catalog.unpin(reader)
    finally:
        if response is None:
            catalog.unpin(reader)
    return response


def _read(call: Call, reader: Reader) -> Response:
    request, found = call.request, reader.found
    headers = object_headers(found, request.query)
    if not check_read(request.headers, found):
        kept = ("ETag", "Last-Modified", "cache-control", "expires")
        return Response(304, {name: headers[name] for name in kept if name in headers})
    checksum = found.checksum
    start, count, status = 0, found.size, 200
    if "partNumber" in request.query:
        raise S3Error("NotImplemented", details={"Query": "partNumber"})
    chosen = requested_range(request.headers, found)
    if chosen is not None:
        (start, count), status = chosen, 206
        checksum = None
    if status == 206 and found.size:
        headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{found.size}"
    if checksum and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= checksum.headers(with_type=True)
    return Response(status, headers, pieces=reader.pieces(start, count))


def delete_object(call: Call) -> Response:
    condition = write_condition(call.request.headers.get("if-match"))
    call.service.catalog.delete(call.bucket, call.key, condition)
    return Response(204)


def delete_objects(call: Call) -> Response:
    catalog = call.service.catalog
    catalog.require_bucket(call.bucket)
    root = read_xml(call, "Delete")
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
            raise S3Error("NotImplemented", details={"Element": "VersionId"})
    results: list[str] = []
    for node in objects:
        key = node.required("Key")
        name = xml.element("Key", key)
        try:
            catalog.delete(call.bucket, key, write_condition(node.value("ETag")))
        except S3Error as error:
            failed = (name, xml.element("Code", error.code), xml.element("Message", error.message))
            results.append(xml.group("Error", failed))
            continue
        if not quiet:
            results.append(xml.group("Deleted", (name,)))
    return xml_response(xml.document("DeleteResult", *results))


def read_xml(call: Call, root: str) -> xml.Node:
    """The XML body of an operation for which S3 insists on a checksum of the body."""
    payload = Payload(call.request, call.authorization)
    if not payload.protected:
        raise S3Error(
            "InvalidRequest",
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        )
    data = payload.read(XML_LIMIT_BYTES)
    if not data:
        raise S3Error("MissingRequestBodyError")
    return xml.parse(data, root)
