"""From a URL into an object: parallel ranged reads, or one stream when the source allows no ranges.

The first response decides. A 206 with a strong ETag and a total allows reading parts side by side,
each pinned to that ETag with ``If-Match``; a part whose connection breaks resumes inside the part.
Any other source is read once, front to back; when that breaks, only a new start is possible.
"""

from __future__ import annotations

import http.client
from dataclasses import replace

from pro_video.core.errors import ProVideoError, SourceRefused, TransferInterrupted
from pro_video.net.gate import Connection, Gate, Origin
from pro_video.net.threads import supervised
from pro_video.s3.objects import StoredObject, Target
from pro_video.s3.transfers.http_responses import (
    content_length,
    content_range,
    media_type,
    refusal,
    refuse_encoded,
    strong_etag,
)
from pro_video.s3.transfers.transfer import Transfer
from pro_video.s3.transfers.uploads import upload
from pro_video.s3.transfers.url_sources import (
    BROKEN,
    Body,
    CannotResume,
    RangedSource,
    StreamSource,
    check_size,
    transient,
)


def fetch(transfer: Transfer, gate: Gate, url: str) -> StoredObject:
    """Move the file behind a URL into an object. Blocks; nothing stays behind when it fails.

    Raises:
        SourceRefused: not allowed, too large, empty, or changed while it was read.
        LinkExpired: 401, 403, 404 or 410: a fresh link may help.
        TransferInterrupted: it kept breaking off, or sent other bytes than promised.
        StorageUnavailable, StorageRefused: S3.
        DeadlineExceeded, Interrupted: told to end.
    """
    highest = 0

    def report(done: int, total: int | None) -> None:
        # A new start reads from the beginning, but progress is never shown going back.
        nonlocal highest
        highest = max(highest, done)
        transfer.report(highest, total)

    retries = transfer.retries()
    for start in range(transfer.tuning.restarts + 1):
        # A failing start ends its own threads by its own interrupt.
        reading = _Reading(replace(transfer, interrupt=transfer.interrupt.child(), report=report))
        try:
            return reading.store(gate, url)
        except CannotResume as error:
            if start == transfer.tuning.restarts:
                raise TransferInterrupted(error.message, code=error.code) from None
            retries.failed(error)
        finally:
            reading.release()
    raise AssertionError("the last start returns or raises")


class _Reading:
    """One reading of a source from its beginning, with the connection of its first response."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._connection: Connection | None = None

    def release(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None

    def store(self, gate: Gate, url: str) -> StoredObject:
        interrupt = self._transfer.interrupt
        source, content_type = supervised(lambda: self._open(gate, url), interrupt)
        target = self._transfer.target
        if isinstance(target, Target) and not target.content_type:
            target = replace(target, content_type=content_type)
        return upload(replace(self._transfer, target=target), source)

    def _open(self, gate: Gate, url: str) -> tuple[RangedSource | StreamSource, str]:
        """Ask for the first part; the source that the response makes, and its media type."""
        transfer = self._transfer
        retries = transfer.retries()
        headers = {"Range": f"bytes=0-{transfer.tuning.part_size - 1}"}
        while True:
            try:
                origin, self._connection, response = gate.open(url, headers, transfer.interrupt)
                source = _choose(transfer, gate, origin, self._connection, response)
            except (*BROKEN, ProVideoError) as error:
                self.release()
                transfer.interrupt.check()
                retries.failed(transient(error, "its address"))
                continue
            if source is not None:
                return source, media_type(response)
            self.release()
            if not headers:
                raise SourceRefused(
                    f"The source {origin.label} answers a part where the whole was asked for.",
                    code="no_range",
                )
            # Ranges, but nothing to pin them to: read the whole in one response.
            headers = {}


def _choose(
    transfer: Transfer,
    gate: Gate,
    origin: Origin,
    connection: Connection,
    response: http.client.HTTPResponse,
) -> RangedSource | StreamSource | None:
    """The source of a response; ``None`` when it has to be asked again without a range."""
    label = origin.label
    if response.status == 416:
        raise SourceRefused(f"The source {label} is empty. Check the file.", code="empty")
    if (error := refusal(response, label)) is not None:
        raise error
    refuse_encoded(response, label)
    if response.status == 200:
        left = content_length(response, label)
        if left is not None:
            check_size(transfer, left, label)
        return StreamSource(transfer, label, Body(connection, response, left))
    given = content_range(response)
    if given is None or given.first != 0 or given.total is None:
        return None
    check_size(transfer, given.total, label)
    etag = strong_etag(response)
    body = Body(connection, response, given.last + 1)
    if etag is not None:
        return RangedSource(transfer, gate, origin, body, etag=etag, total=given.total)
    whole = given.last + 1 == given.total
    return StreamSource(transfer, label, body) if whole else None
