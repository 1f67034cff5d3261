"""Follows a job by its server-sent events; where there is no stream, by its status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx

from pro_video.client.errors import ClientError, TooMany, Unavailable, Unreachable
from pro_video.client.models import Job, JobEvent
from pro_video.client.transport import Transport

_PAUSE: Final = 2.0
# With the tries of each call: some minutes in which a gateway is started anew.
_MOST_FAILURES: Final = 30


async def follow(transport: Transport, path: str) -> AsyncIterator[JobEvent]:
    """The job as it is, then each change, until it has ended.

    Args:
        transport: to the API.
        path: of the job.

    A broken stream goes on after its last event. While no stream can be had, the status is read.

    Raises:
        Problem: of the API.
        Unreachable: the API was away for minutes.
    """
    last, failures = "", 0
    shown: JobEvent | None = None
    while True:
        try:
            headers = {"Last-Event-ID": last} if last else {}
            async with transport.stream(f"{path}/events", headers) as response:
                async for name, data in _frames(response.aiter_bytes()):
                    last, failures = name, 0
                    shown = JobEvent.model_validate_json(data)
                    yield shown
                    if shown.status != "processing":
                        return
        except (httpx.TransportError, TooMany, Unavailable):
            pass
        try:
            event = _event(Job.model_validate_json(await transport.send("GET", path)))
        except (Unreachable, Unavailable) as error:
            failures += 1
            if failures > _MOST_FAILURES:
                raise ClientError(f"The job goes on, but cannot be followed: {error}") from None
        else:
            failures = 0
            if shown is None or _differs(event, shown):
                shown = event
                yield event
            if event.status != "processing":
                return
        await transport.sleep(_PAUSE)


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """Id and data of each event; comments keep the connection open."""
    rest = b""
    async for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
            if b"data" in fields:
                yield fields.get(b"id", b"").decode(), fields[b"data"]


def _event(job: Job) -> JobEvent:
    fields = {name: getattr(job, name, None) for name in JobEvent.model_fields}
    return JobEvent.model_validate(fields | {"timestamp": job.completed_at or job.created_at})


def _differs(event: JobEvent, shown: JobEvent) -> bool:
    return event.model_copy(update={"timestamp": shown.timestamp}) != shown
