"""Reads the HTTP responses of foreign servers that files are fetched from."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass

from pro_video.core.errors import LinkExpired, ProVideoError, SourceRefused, TransferInterrupted
from pro_video.core.retrying import parse_retry_after
from pro_video.s3.objects import DEFAULT_TYPE

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"\Z')
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,100}/[a-z0-9.+-]{1,100}\Z")
_LONGEST_HINT = 30.0
"""Longest pause of a transfer by a Retry-After, seconds; the transfer holds threads meanwhile."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``Content-Range``: first and last byte, and the size of the whole (``None``: unknown)."""

    first: int
    last: int
    total: int | None


def refusal(response: http.client.HTTPResponse, label: str) -> ProVideoError | None:
    """The error in a status, or ``None`` for 200 and 206.

    Transient errors are worth another try at once; :class:`LinkExpired` needs a fresh link.

    Args:
        response: only status and headers are read.
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
        hint = parse_retry_after(
            response.getheader("Retry-After"), now=time.time(), limit=_LONGEST_HINT
        )
        return TransferInterrupted(
            f"The source {label} answered {status}. Try again later.",
            code=f"http_{status}",
            retry_after=hint,
        )
    return SourceRefused(
        f"The source {label} answered {status}. Check the address.", code=f"http_{status}"
    )


def source_changed(label: str) -> SourceRefused:
    """The error for a file that changed during the transfer."""
    return SourceRefused(
        f"The source {label} changed while it was read. Run again once it is complete.",
        code="source_changed",
    )


def content_range(response: http.client.HTTPResponse) -> ByteRange | None:
    """The parsed ``Content-Range``; ``None`` when absent or malformed."""
    match = _CONTENT_RANGE.match((response.getheader("Content-Range") or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ByteRange(first, last, total)


def content_length(response: http.client.HTTPResponse, label: str) -> int | None:
    """The length of the body; ``None`` for a chunked one, which marks its own end.

    Raises:
        SourceRefused: no length, or a malformed one: a cut body would look like a whole one.
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
    """The entity tag when it is strong; ``None`` otherwise."""
    tag = (response.getheader("ETag") or "").strip()
    return tag if _STRONG_ETAG.match(tag) else None


def media_type(response: http.client.HTTPResponse) -> str:
    """The media type without parameters; the neutral one when it is malformed."""
    text = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    return text if _MEDIA_TYPE.match(text) else DEFAULT_TYPE


def refuse_encoded(response: http.client.HTTPResponse, label: str) -> None:
    """Refuse a compressed body: its bytes and size are not those of the file."""
    coding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if coding != "identity":
        raise SourceRefused(
            f"The source {label} sends its file compressed, against the request. Use another "
            "server.",
            code="content_encoding",
        )
