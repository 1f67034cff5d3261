"""Conditional and ranged reads, in the order of precedence that HTTP and S3 give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime

from sandbox.s3.errors import S3Error
from sandbox.s3.storage.catalog import StoredObject, WriteCondition

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def http_date(seconds: float) -> str:
    return formatdate(int(seconds), usegmt=True)


def _parsed_date(text: str | None) -> float | None:
    """Seconds since the epoch, or None for a missing or unreadable date, which is ignored."""
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _lists(text: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in text.split(",")]
    return "*" in tags or etag in tags


def check_read(headers: Mapping[str, str], found: StoredObject, prefix: str = "") -> bool:
    """False when the client's copy is still good (304); raises PreconditionFailed.

    With `prefix` "x-amz-copy-source-" it judges the source of a copy, for which "not modified"
    is a failed precondition as well.
    """
    if_match = headers.get(f"{prefix}if-match")
    if_none_match = headers.get(f"{prefix}if-none-match")
    modified = int(found.modified)
    if if_match is not None:
        if not _lists(if_match, found.etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    else:
        until = _parsed_date(headers.get(f"{prefix}if-unmodified-since"))
        if until is not None and modified > until:
            raise S3Error("PreconditionFailed", Condition="If-Unmodified-Since")
    unchanged = False
    if if_none_match is not None:
        unchanged = _lists(if_none_match, found.etag)
    else:
        since = _parsed_date(headers.get(f"{prefix}if-modified-since"))
        unchanged = since is not None and modified <= since
    if unchanged and prefix:
        raise S3Error("PreconditionFailed", Condition=f"{prefix}if-none-match")
    return not unchanged


def write_condition(headers: Mapping[str, str]) -> WriteCondition:
    """The condition of a write; S3 knows only `*` for If-None-Match."""
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    if if_none_match not in (None, "*") or (if_match and if_none_match):
        raise S3Error("NotImplemented", Header="If-None-Match")
    if if_match is not None:
        if_match = if_match.strip().strip('"')
    return WriteCondition(if_match=if_match, if_none_match=if_none_match is not None)


def requested_range(headers: Mapping[str, str], found: StoredObject) -> tuple[int, int] | None:
    """Start and length of the one range asked for; None means the whole object.

    A header that is no single byte range is ignored, as HTTP wants it. If-Range with another
    ETag or date turns the answer into the whole object.
    """
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    if_range = headers.get("if-range")
    if if_range is not None:
        date = None if '"' in if_range else _parsed_date(if_range)
        same = int(found.modified) == date if date is not None else if_range == f'"{found.etag}"'
        if not same:
            return None
    first, last = match.groups()
    size = found.size
    if first == "":
        start, end = max(size - int(last), 0), size - 1
        satisfiable = int(last) > 0 and size > 0
    else:
        start, end = int(first), size - 1
        if last != "":
            if int(last) < start:
                return None
            end = min(int(last), end)
        satisfiable = start < size
    if not satisfiable:
        raise S3Error(
            "InvalidRange",
            RangeRequested=match.group(0),
            ActualObjectSize=str(size),
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end - start + 1
