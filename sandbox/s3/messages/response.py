"""Output of a handler: the response to be sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Request


class Piece(NamedTuple):
    """A range of a stored file, in bytes."""

    path: Path
    offset: int
    length: int


def _nothing() -> None:
    return


@dataclass(slots=True)
class Response:
    """A response; its body is `body`, or else the concatenation of `pieces`.

    `release` is called once when the response is sent or given up.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: Sequence[Piece] = ()
    release: Callable[[], None] = _nothing

    @property
    def length(self) -> int:
        """The size of the body in bytes."""
        return len(self.body) + sum(piece.length for piece in self.pieces)


def document_response(document: bytes, status: int = 200) -> Response:
    """A response with an XML document."""
    return Response(status, {"Content-Type": "application/xml"}, document)


def xml_response(name: str, *parts: str) -> Response:
    """A success with the document `name` of serialized elements."""
    return document_response(xml.document(name, *parts))


def error_response(error: S3Error, request: Request) -> Response:
    """A refusal with S3's error document."""
    response = document_response(error.document(request.path, request.id), error.status)
    response.headers.update(error.headers)
    return response
