"""Input of a handler: the request as it was read."""

from __future__ import annotations

import secrets
import urllib.parse

from starlette.types import Receive, Scope

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.body import Body

MAX_KEY_BYTES = 1024


class Request:
    """One request; names of headers are lower case, repeated fields are joined by a comma."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.id = secrets.token_hex(8).upper()
        self.method: str = scope["method"]
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.body = Body(self.headers, receive)
        self.operation = "unknown"
        self.path = ""
        """The decoded path; this and what follows is there after `read_target`."""
        self.pairs: list[tuple[str, str]] = []
        self.query: dict[str, str] = {}
        """The first value of each name."""
        self.bucket: str | None = None
        self.key: str | None = None

    def read_target(self, scope: Scope) -> None:
        """Splits the target into bucket, key and query; the bucket is the path's first part."""
        raw_path, raw_query = scope["raw_path"].decode("ascii"), scope["query_string"].decode()
        if not raw_path.startswith("/") or "#" in raw_path + raw_query:
            raise S3Error("InvalidURI")
        self.path = _decoded(raw_path)
        for item in raw_query.split("&") if raw_query else ():
            name, _, value = item.partition("=")
            if name:
                pair = (_decoded(name.replace("+", " ")), _decoded(value.replace("+", " ")))
                self.pairs.append(pair)
                self.query.setdefault(*pair)
        bucket, _, key = self.path[1:].partition("/")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise S3Error(
                "KeyTooLongError", Size=str(len(key.encode())), MaxSizeAllowed=str(MAX_KEY_BYTES)
            )
        self.bucket, self.key = bucket or None, key or None

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """An integer of the query; S3 refuses what is not one and clamps nothing below `low`."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 11) or int(text) < low:
            raise S3Error(
                "InvalidArgument",
                f"Provided {name} not an integer or within integer range",
                ArgumentName=name,
                ArgumentValue=text[:100],
            )
        return min(int(text), high)


def _decoded(text: str) -> str:
    try:
        return urllib.parse.unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
