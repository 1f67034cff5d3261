"""Input and output of a handler: the parsed request and the response to come."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sandbox.s3.errors import S3Error
from sandbox.s3.wire import Body, Head

MAX_KEY_BYTES = 1024


class Piece(NamedTuple):
    """A range of a stored file, in bytes."""

    path: Path
    offset: int
    length: int


def _nothing() -> None:
    return


@dataclass(slots=True)
class Response:
    """An answer; its body is `body`, or else the concatenation of `pieces`.

    `release` is called once when the answer is sent or given up.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: Sequence[Piece] = ()
    release: Callable[[], None] = _nothing

    @property
    def length(self) -> int:
        return len(self.body) + sum(piece.length for piece in self.pieces)


@dataclass(slots=True)
class Request:
    """One request; `path` is the decoded path, `query` holds the first value of each name."""

    method: str
    path: str
    pairs: list[tuple[str, str]]
    headers: dict[str, str]
    body: Body
    id: str
    query: dict[str, str]
    bucket: str | None
    key: str | None
    operation: str = "unknown"

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """An integer of the query; S3 refuses what is not one and clamps nothing below `low`."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 11) or int(text) < low:
            raise S3Error(
                "InvalidArgument",
                f"Provided {name} not an integer or within integer range",
                details={"ArgumentName": name, "ArgumentValue": text[:100]},
            )
        return min(int(text), high)


def parse_request(head: Head, body: Body, request_id: str) -> Request:
    """Splits the target into bucket, key and query; the bucket is the first part of the path."""
    target = head.target
    if target.startswith(("http://", "https://")):
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    raw_path, _, raw_query = target.partition("?")
    if not raw_path.startswith("/") or "#" in target:
        raise S3Error("InvalidURI")
    path = _decoded(raw_path)
    pairs: list[tuple[str, str]] = []
    for item in raw_query.split("&") if raw_query else ():
        name, _, value = item.partition("=")
        if name:
            pairs.append((_decoded(name.replace("+", " ")), _decoded(value.replace("+", " "))))
    bucket, _, key = path[1:].partition("/")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise S3Error(
            "KeyTooLongError",
            details={"Size": str(len(key.encode())), "MaxSizeAllowed": str(MAX_KEY_BYTES)},
        )
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value)
    return Request(
        method=head.method,
        path=path,
        pairs=pairs,
        headers=head.headers,
        body=body,
        id=request_id,
        query=query,
        bucket=bucket or None,
        key=key or None,
    )


def _decoded(text: str) -> str:
    try:
        return urllib.parse.unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
