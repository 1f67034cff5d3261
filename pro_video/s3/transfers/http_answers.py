"""The meaning of a foreign HTTP server's response for reading a file from it."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass

from pro_video.core.errors import (
    LinkExpired,
    ProVideoError,
    SourceRefused,
    TransferInterrupted,
)
from pro_video.core.retrying import parse_retry_after
from pro_video.s3.objects import DEFAULT_TYPE

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"\Z')
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,100}/[a-z0-9.+-]{1,100}\Z")
_LONGEST_WISH = 30.0
"""Seconds that a Retry-After can make a transfer wait; it holds threads meanwhile."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``Content-Range``: first and last byte, and the size of the whole (``None``: not told)."""

    first: int
    last: int
    total: int | None


def refusal(response: http.client.HTTPResponse, label: str) -> ProVideoError | None:
    """The error in a status, or ``None`` for 200 and 206.

    Transient errors are worth another try at once, except :class:`LinkExpired`: that wants a fresh
    link.

    Args:
        response: only its status and headers are looked at.
        label: names the source in messages, without its query.
    """
    status = response.status
    if status in (200, 206):
        return None
    if status in (401, 403, 404, 410):
        return LinkExpired(
            f"The source {label} is not available under this link ({status}): it ran out,"
            " or the file is gone. Give a fresh link.",
            code=f"http_{status}",
        )
    if status == 412:
        return source_changed(label)
    if status in (408, 425, 429) or status >= 500:
        wish = parse_retry_after(
            response.getheader("Retry-After"), now=time.time(), limit=_LONGEST_WISH
        )
        return TransferInterrupted(
            f"The source {label} answered {status}. Try again later.",
            code=f"http_{status}",
            retry_after=wish,
        )
    return SourceRefused(
        f"The source {label} answered {status}. Check the address.", code=f"http_{status}"
    )


def source_changed(label: str) -> SourceRefused:
    """The error for a file that is not the one that the transfer began with."""
    return SourceRefused(
        f"The source {label} changed while it was read. Run again once it is complete.",
        code="source_changed",
    )


def content_range(response: http.client.HTTPResponse) -> ByteRange | None:
    """The parsed ``Content-Range``, ``None`` when absent or nonsense."""
    match = _CONTENT_RANGE.match((response.getheader("Content-Range") or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ByteRange(first, last, total)


def content_length(response: http.client.HTTPResponse, label: str) -> int | None:
    """The length that the body has to have; ``None`` for a chunked one, which tells its own end.

    Raises:
        SourceRefused: the header is nonsense, or nothing would tell a whole body from a cut one.
    """
    if response.chunked:
        return None
    values = {value.strip() for value in (response.headers.get_all("Content-Length") or [])}
    if len(values) == 1 and re.fullmatch(r"\d{1,18}", text := values.pop()):
        return int(text)
    raise SourceRefused(
        f"The source {label} does not say how long its file is, so that a cut copy could not be"
        " told from a whole one. Use another server, or upload the file to the bucket.",
        code="length_unknown",
    )


def strong_etag(response: http.client.HTTPResponse) -> str | None:
    """The entity tag when it is a strong one; ``None`` otherwise."""
    tag = (response.getheader("ETag") or "").strip()
    return tag if _STRONG_ETAG.match(tag) else None


def media_type(response: http.client.HTTPResponse) -> str:
    """The plain media type, without parameters; a neutral one for what is not well formed."""
    text = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    return text if _MEDIA_TYPE.match(text) else DEFAULT_TYPE


def refuse_encoded(response: http.client.HTTPResponse, label: str) -> None:
    """Refuse a compressed body: its bytes are not the file, and its size says nothing."""
    coding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if coding != "identity":
        raise SourceRefused(
            f"The source {label} sends its file compressed although asked not to.",
            code="content_encoding",
        )
