"""The listing of objects, ListObjectsV2."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Request
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.service import Call
from sandbox.s3.storage.catalog import AFTER_ALL, Catalog, StoredObject
from sandbox.s3.verification.signature import uri_encode

MAX_KEYS = 1000
DELIMITED_BATCH = 50


@dataclass(slots=True)
class Page:
    """One page: objects, common prefixes, and where the next page begins.

    `next` is the last key or common prefix of this page; None when the listing is at its end.
    """

    objects: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next: str | None = None

    @property
    def count(self) -> int:
        """Entries of the page."""
        return len(self.objects) + len(self.prefixes)


def list_page(
    catalog: Catalog, bucket: str, prefix: str, delimiter: str, after: str, limit: int
) -> Page:
    """The keys behind `after` with `prefix`, rolled up at `delimiter` (empty: not at all)."""
    page = Page()
    if limit == 0:
        return page
    # Where to go on: at the prefix, behind a key, or behind all keys of a rolled-up prefix.
    start = max(prefix.encode(), after.encode() + b"\0" if after else b"")
    if after and common_prefix(after, prefix, delimiter) == after:
        start = after.encode() + AFTER_ALL
    while True:
        # Keys behind a rolled-up prefix are wasted, so that a delimiter makes small batches pay.
        batch = min(limit - page.count + 1, DELIMITED_BATCH if delimiter else MAX_KEYS + 1)
        found = catalog.page(bucket, start, prefix.encode() + AFTER_ALL, batch)
        for each in found:
            if page.count == limit:
                page.next = after
                return page
            common = common_prefix(each.key, prefix, delimiter)
            if common:
                page.prefixes.append(common)
                after, start = common, common.encode() + AFTER_ALL
                break
            page.objects.append(each)
            after, start = each.key, each.key.encode() + b"\0"
        else:
            if len(found) < batch:
                return page


def common_prefix(key: str, prefix: str, delimiter: str) -> str:
    """The key up to the first delimiter behind the prefix; empty when there is none."""
    cut = key.find(delimiter, len(prefix)) if delimiter and key.startswith(prefix) else -1
    return key[: cut + len(delimiter)] if cut >= 0 else ""


class Encoder:
    """The texts of one listing, percent-encoded if the client asked for `encoding-type=url`."""

    def __init__(self, request: Request) -> None:
        wanted = request.query.get("encoding-type")
        if wanted not in (None, "", "url"):
            raise S3Error(
                "InvalidArgument",
                "Invalid Encoding Method specified in Request",
                ArgumentName="encoding-type",
                ArgumentValue=wanted[:100],
            )
        self.active = wanted == "url"

    def element(self, name: str, text: str) -> str:
        """One element with a text of the listing."""
        return xml.element(name, uri_encode(text, safe="/*") if self.active else text)

    @property
    def note(self) -> str:
        """The element that tells of the encoding."""
        return xml.element("EncodingType", "url") if self.active else ""


async def list_objects_v2(call: Call) -> Response:
    request = call.request
    encoder = Encoder(request)
    call.service.catalog.require_bucket(call.bucket)
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    start_after = request.query.get("start-after", "")
    token = request.query.get("continuation-token")
    limit = request.number("max-keys", MAX_KEYS, low=0, high=MAX_KEYS)
    after = start_after if token is None else _read_token(token)
    page = list_page(call.service.catalog, call.bucket, prefix, delimiter, after, limit)
    owner = request.query.get("fetch-owner") == "true"
    return xml_response(
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


def _contents(page: Page, encoder: Encoder, *, owner: bool) -> str:
    entries = [
        xml.group(
            "Contents",
            encoder.element("Key", each.key),
            xml.element("LastModified", xml.moment(each.modified)),
            xml.element("ETag", f'"{each.etag}"'),
            xml.element("Size", each.size),
            xml.group("Owner", xml.OWNER) if owner else "",
            xml.element("StorageClass", "STANDARD"),
        )
        for each in page.objects
    ]
    entries += [
        xml.group("CommonPrefixes", encoder.element("Prefix", prefix)) for prefix in page.prefixes
    ]
    return "".join(entries)


def _write_token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _read_token(token: str) -> str:
    try:
        key = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key:
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            ArgumentName="continuation-token",
        )
    return key
