"""Reads a multipart form while it arrives; no part is kept in memory or on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from gateway.base.problems import ProblemError
from gateway.base.settings import GatewaySettings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_PARTS = 64


class ClientGone(Exception):
    """The client disconnected before the end of its form; no response can reach it."""


@dataclass(frozen=True)
class PartHead:
    """The headers of a part. ``filename`` is any text of the client and must enter no key."""

    name: str
    filename: str | None
    content_type: str


class PartSink(Protocol):
    """Receives the parts of a form, one after the other."""

    async def begin(self, head: PartHead) -> None:
        """A part begins."""

    async def data(self, data: bytes) -> None:
        """The next bytes of the current part."""

    async def end(self) -> None:
        """The current part ends."""


def boundary_of(request: Request) -> bytes:
    """The boundary of a multipart request.

    Raises:
        ProblemError: 415 for a request of another content type.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise ProblemError(
            415,
            "not_a_form",
            "The request is no form. Send multipart/form-data with a boundary, as FormData does.",
        )
    return boundary


async def read_form(request: Request, sink: PartSink, settings: GatewaySettings) -> None:
    """Read a whole form into ``sink``.

    Raises:
        ProblemError: 400 for a malformed form, 408 for a slow one, 413 for a large one, and those
            of the sink.
        ClientGone: the client disconnected.
    """
    events = _Events()
    try:
        parser = MultipartParser(boundary_of(request), events.callbacks())
        async for chunk in _chunks(request, settings):
            parser.write(chunk)
            await events.deliver(sink)
        parser.finalize()
    except FormParserError:
        raise ProblemError(
            400,
            "form_malformed",
            "The body is not a well-formed multipart form. Nothing of it was kept.",
        ) from None
    if not events.finished:
        raise ProblemError(
            400,
            "form_incomplete",
            "The form ends before its last boundary. Nothing of it was kept; send it again.",
        )


Event = tuple[Literal["begin", "end"], None] | tuple[Literal["data"], bytes]


class _Events:
    """Collects the calls of the push parser, so that the sink can be awaited."""

    def __init__(self) -> None:
        self.finished = False
        self._events: list[Event] = []
        self._heads: list[PartHead] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._parts = 0

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": lambda: self._events.append(("end", None)),
            "on_end": self._end,
        }

    async def deliver(self, sink: PartSink) -> None:
        events, self._events = self._events, []
        for kind, data in events:
            if kind == "begin":
                await sink.begin(self._heads.pop(0))
            elif kind == "end":
                await sink.end()
            elif data:
                await sink.data(data)

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise FormParserError("too many parts")
        self._headers = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        filename = options.get(b"filename")
        self._heads.append(
            PartHead(
                name=options.get(b"name", b"").decode("utf-8", "replace"),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                content_type=self._headers.get(b"content-type", b"").decode("latin-1"),
            )
        )
        self._events.append(("begin", None))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(("data", data[start:end]))

    def _end(self) -> None:
        self.finished = True


async def _chunks(request: Request, settings: GatewaySettings) -> AsyncIterator[bytes]:
    """The body in chunks, with bounds on its size, pauses and rate.

    Only the time that the client needs counts, not that of the sink.
    """
    received = 0
    waited = 0.0
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(settings.form_idle_seconds):
                message = await request.receive()
        except TimeoutError:
            raise _too_slow() from None
        waited += time.monotonic() - began
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        received += len(body)
        if received > settings.max_form_bytes:
            raise form_too_large(settings)
        late = waited > settings.form_rate_grace_seconds
        if late and received < waited * settings.form_bytes_per_second:
            raise _too_slow()
        yield body
        if not message.get("more_body", False):
            return


def form_too_large(settings: GatewaySettings) -> ProblemError:
    """413 for a whole form."""
    return ProblemError(
        413,
        "form_too_large",
        f"The form has more than {settings.max_form_bytes} bytes. Nothing of it was kept; upload "
        "larger files by POST /api/v1/uploads.",
    )


def _too_slow() -> ProblemError:
    return ProblemError(
        408, "form_too_slow", "The form arrived too slowly. Nothing of it was kept; send it again."
    )
