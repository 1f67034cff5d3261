"""From a URL into an object: parallel ranged reads where the source can, one stream where it
cannot.

The first answer decides. A 206 with a strong ETag and a total allows reading parts side by side,
each pinned to that ETag with ``If-Match``; a part whose connection breaks goes on inside the part.
Any other source is read once, front to back; when that breaks, only a new start is possible.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass, replace
from functools import partial

from pro_video.core.errors import (
    ProVideoError,
    SourceRefused,
    TransferInterrupted,
)
from pro_video.net.gate import Connection, Gate, Origin
from pro_video.net.interrupt import Interrupt
from pro_video.net.threads import supervised
from pro_video.s3.objects import StoredObject
from pro_video.s3.transfers.http_answers import (
    content_length,
    content_range,
    media_type,
    refusal,
    refuse_encoded,
    strong_etag,
)
from pro_video.s3.transfers.multipart import Target
from pro_video.s3.transfers.uploads import OnProgress, Placing, Source, upload
from pro_video.s3.transfers.url_sources import (
    BROKEN,
    Answer,
    CannotResume,
    Limits,
    RangedSource,
    Retries,
    StreamSource,
    Tuning,
    transient,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that answered, and the media type it gave."""

    source: RangedSource | StreamSource
    content_type: str


def open_source(
    gate: Gate,
    url: str,
    *,
    limits: Limits,
    tuning: Tuning,
    interrupt: Interrupt,
    held: list[Connection],
) -> Opened:
    """Ask for the first part and choose how to read on. Retries what may pass.

    The connection that the source hangs on is put into ``held``, so that the caller can release it
    even when it never gets to see the result.

    Raises:
        SourceRefused, LinkExpired, TransferInterrupted: see
            :func:`~pro_video.s3.transfers.http_answers.refusal`.
        Interrupted, DeadlineExceeded: told to end.
    """
    retries = Retries(tuning.backoff, interrupt)
    headers = {"Range": f"bytes=0-{tuning.part_size - 1}"}
    while True:
        try:
            origin, connection, response = gate.open(url, headers, interrupt)
            held.append(connection)
            opened = _choose(gate, origin, connection, response, limits, tuning, interrupt)
        except (*BROKEN, ProVideoError) as error:
            while held:
                held.pop().release()
            interrupt.check()
            retries.failed(transient(error, "its address"))
            continue
        if opened is not None:
            return opened
        held.pop().release()
        if not headers:
            raise SourceRefused(
                f"The source {origin.label} answers a part where the whole was asked for.",
                code="no_range",
            )
        # Ranges, but nothing to pin them to: read the whole in one answer.
        headers = {}


def _choose(
    gate: Gate,
    origin: Origin,
    connection: Connection,
    response: http.client.HTTPResponse,
    limits: Limits,
    tuning: Tuning,
    interrupt: Interrupt,
) -> Opened | None:
    """The source behind an answer; ``None`` when it has to be asked again without a range."""
    label = origin.label
    if response.status == 416:
        raise SourceRefused(f"The source {label} is empty. Check the file.", code="empty")
    if (problem := refusal(response, label)) is not None:
        raise problem
    refuse_encoded(response, label)
    kind = media_type(response)
    if response.status == 200:
        left = content_length(response, label)
        if left is not None:
            limits.check(left, label)
        answer = Answer(connection, response, left)
        stream = StreamSource(
            label, answer, limits=limits, part_size=tuning.part_size, interrupt=interrupt
        )
        return Opened(stream, kind)
    given = content_range(response)
    etag = strong_etag(response)
    if given is None or given.first != 0 or given.total is None:
        return None
    limits.check(given.total, label)
    whole = given.last + 1 == given.total
    if etag is None and not whole:
        return None
    answer = Answer(connection, response, given.last + 1)
    if etag is None:
        stream = StreamSource(
            label, answer, limits=limits, part_size=tuning.part_size, interrupt=interrupt
        )
        return Opened(stream, kind)
    ranged = RangedSource(
        gate,
        origin,
        answer,
        etag=etag,
        total=given.total,
        part_size=tuning.part_size,
        backoff=tuning.backoff,
        interrupt=interrupt,
    )
    return Opened(ranged, kind)


def fetch(
    url: str,
    target: Target | Placing,
    *,
    gate: Gate,
    limits: Limits,
    tuning: Tuning,
    interrupt: Interrupt,
    content_type: str | None,
    on_progress: OnProgress | None,
) -> StoredObject:
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
        if on_progress is not None:
            on_progress(highest, total)

    retries = Retries(tuning.backoff, interrupt)
    held: list[Connection] = []
    for start in range(tuning.restarts + 1):
        # A try that fails ends its own threads by its own switch.
        switch = interrupt.child()
        opening = partial(
            open_source, gate, url, limits=limits, tuning=tuning, interrupt=switch, held=held
        )
        try:
            opened = supervised(opening, switch)
            source: Source = opened.source
            place = target
            if isinstance(target, Target):
                place = replace(target, content_type=content_type or opened.content_type)
            return upload(
                place, source, workers=tuning.workers, interrupt=switch, on_progress=report
            )
        except CannotResume as error:
            if start == tuning.restarts:
                raise TransferInterrupted(error.message, code=error.code) from None
            retries.failed(error)
        finally:
            while held:
                held.pop().release()
    raise AssertionError("the last start returns or raises")
