"""The listing of objects, ListObjectsV2."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Request, Response
from sandbox.s3.service import Call, xml_response
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.verification.signature import uri_encode

MAX_KEYS = 1000
DELIMITED_BATCH = 50


@dataclass(slots=True)
class Page:
    """One page: rows of the database, common prefixes, and where the next page begins.

    `next` is the last key or common prefix of this page; None when the listing is at its end.
    """

    rows: list[tuple[bytes, int, str, float]] = field(default_factory=list)
    prefixes: list[bytes] = field(default_factory=list)
    next: bytes | None = None

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.prefixes)


def list_page(
    catalog: Catalog, bucket: str, prefix: bytes, delimiter: bytes, after: bytes, limit: int
) -> Page:
    """The keys behind `after` with `prefix`, rolled up at `delimiter` (empty: not at all)."""
    page = Page()
    if limit == 0:
        return page
    # Keys up to and including `low` are done; a rolled-up prefix is skipped by a single seek.
    low, strict = max(after, prefix), after >= prefix
    if delimiter and after.startswith(prefix):
        cut = after.find(delimiter, len(prefix))
        if cut >= 0 and cut + len(delimiter) == len(after):
            low, strict = _after_all(after), False
    last = b""
    end = _after_all(prefix)
    while True:
        # Keys behind a rolled-up prefix are wasted, so that a delimiter makes small batches pay.
        batch = min(limit - page.count + 1, DELIMITED_BATCH if delimiter else MAX_KEYS + 1)
        rows = catalog.database.rows(
            f"SELECT key, size, etag, modified FROM objects WHERE bucket = ? "
            f"AND key {'>' if strict else '>='} ? AND (? = x'' OR key < ?) ORDER BY key LIMIT ?",
            bucket,
            low,
            end,
            end,
            batch,
        )
        jumped = False
        for row in rows:
            key: bytes = row["key"]
            if page.count == limit:
                page.next = last
                return page
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                page.rows.append((key, row["size"], row["etag"], row["modified"]))
                low, strict, last = key, True, key
                continue
            common = key[: cut + len(delimiter)]
            page.prefixes.append(common)
            low, strict, last, jumped = _after_all(common), False, common, True
            break
        if not jumped and len(rows) < batch:
            return page


def _after_all(prefix: bytes) -> bytes:
    """The first byte string behind all that start with `prefix`; empty when there is none.

    UTF-8 never uses the byte 0xFF, so that adding one to the last byte is always possible.
    """
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b""


class Encoder:
    """The texts of one listing, percent-encoded if the client asked for `encoding-type=url`."""

    def __init__(self, request: Request) -> None:
        wanted = request.query.get("encoding-type")
        if wanted not in (None, "", "url"):
            raise S3Error(
                "InvalidArgument",
                "Invalid Encoding Method specified in Request",
                details={"ArgumentName": "encoding-type", "ArgumentValue": wanted[:100]},
            )
        self.active = wanted == "url"

    def element(self, name: str, value: str | bytes) -> str:
        text = value.decode() if isinstance(value, bytes) else value
        return xml.element(name, uri_encode(text, safe="/*") if self.active else text)

    @property
    def note(self) -> str:
        return xml.element("EncodingType", "url") if self.active else ""


def list_objects_v2(call: Call) -> Response:
    request = call.request
    encoder = Encoder(request)
    call.service.catalog.require_bucket(call.bucket)
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    start_after = request.query.get("start-after", "")
    token = request.query.get("continuation-token")
    limit = request.number("max-keys", MAX_KEYS, low=0, high=MAX_KEYS)
    after = start_after.encode() if token is None else _read_token(token)
    page = list_page(
        call.service.catalog, call.bucket, prefix.encode(), delimiter.encode(), after, limit
    )
    owner = request.query.get("fetch-owner") == "true"
    return xml_response(
        xml.document(
            "ListBucketResult",
            xml.element("Name", call.bucket),
            encoder.element("Prefix", prefix),
            encoder.element("Delimiter", delimiter) if delimiter else "",
            encoder.element("StartAfter", start_after) if start_after else "",
            xml.element("ContinuationToken", token) if token is not None else "",
            xml.element("NextContinuationToken", _write_token(page.next)) if page.next else "",
            xml.element("KeyCount", page.count),
            xml.element("MaxKeys", limit),
            encoder.note,
            xml.element("IsTruncated", page.next is not None),
            _contents(page, encoder, owner=owner),
        )
    )


def _contents(page: Page, encoder: Encoder, *, owner: bool) -> str:
    entries = [
        xml.group(
            "Contents",
            (
                encoder.element("Key", key),
                xml.element("LastModified", xml.moment(modified)),
                xml.element("ETag", f'"{etag}"'),
                xml.element("Size", size),
                xml.group("Owner", (xml.OWNER,)) if owner else "",
                xml.element("StorageClass", "STANDARD"),
            ),
        )
        for key, size, etag, modified in page.rows
    ]
    entries += [
        xml.group("CommonPrefixes", (encoder.element("Prefix", prefix),))
        for prefix in page.prefixes
    ]
    return "".join(entries)


def _write_token(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def _read_token(token: str) -> bytes:
    try:
        key = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        key.decode()
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            details={"ArgumentName": "continuation-token"},
        )
    return key
