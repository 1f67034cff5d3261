"""The route of a job's events as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Header, Response

from gateway.auth.authenticate import Owner
from gateway.base.problems import ProblemError, problem_responses
from gateway.base.services import service
from gateway.base.settings import GatewaySettings
from gateway.events.hub import EventHub, Followed
from gateway.events.stream import HEARTBEAT, EventStreamResponse, frame
from gateway.jobs.job_status import JobId, Statuses

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_RETRY = b"retry: 2000\n\n"
_EXAMPLE = (
    "id: 0191a9e5-1f2d-7c3e-9a55-0f6f3f1c2b7a.75.processing\n"
    'data: {"job_id":"0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a","status":"processing",'
    '"stage":"inpainting processing","progress":75,"message":"Text inpainting in progress...",'
    '"warnings":[],"rejected_key":null,"fallback_key":null,"timestamp":"2026-01-01T12:00:00Z"}\n\n'
)
_EVENT = {
    "type": "object",
    "description": "One event of the stream, as its fields.",
    "required": ["id", "data"],
    "properties": {
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobEvent"},
        },
    },
}


class EventStreams:
    """The open streams of one application, and their limits."""

    def __init__(self, settings: GatewaySettings, hub: EventHub) -> None:
        self.settings = settings
        self.hub = hub
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def opened(self, owner: str) -> Iterator[None]:
        """Count a stream while the block runs.

        Raises:
            ProblemError: 429 at the owner's limit, 503 at the limit of all.
        """
        if self._open[owner] >= self.settings.events_listeners_of_owner:
            raise _too_many(429, "You have as many open streams as one owner may have.")
        if self._open.total() >= self.settings.events_listeners:
            raise _too_many(503, "Too many streams are open.")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            # Drops owners without streams.
            self._open += Counter()


def _too_many(status: int, what: str) -> ProblemError:
    return ProblemError(
        status,
        "too_many_streams",
        f"{what} Close one, try again later, or poll the status.",
        retry_after=30,
    )


@router.get(
    "/{job_id}/events",
    summary="Events of a job",
    response_class=Response,
    responses={
        200: {
            "description": "The job as it is, then each change of stage, percentage or status. The "
            "stream ends with the job. Lines that begin with a colon are heartbeats.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}},
        },
        204: {"description": "The job has ended, and Last-Event-ID is its last event."},
        **problem_responses(401, 403, 404, 422, 429, 503),
    },
)
async def read_events(
    job_id: JobId,
    owner: Owner,
    statuses: Statuses,
    streams: Annotated[EventStreams, service(EventStreams)],
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=200,
            description="id of the last event seen; the stream begins after it.",
        ),
    ] = None,
) -> Response:
    """Server-sent events: `EventSource` follows them and reconnects by itself."""
    await statuses.snapshot(owner, job_id)
    async with AsyncExitStack() as stack:
        stack.enter_context(streams.opened(owner))
        followed = await stack.enter_async_context(streams.hub.following(job_id, last_event_id))
        if followed.has_ended and not followed.missed:
            # EventSource reconnects after any other status.
            return Response(status_code=204)
        closing = stack.pop_all()
    return EventStreamResponse(
        _chunks(streams.settings, followed),
        close=closing.aclose,
        send_seconds=streams.settings.events_send_seconds,
    )


async def _chunks(settings: GatewaySettings, followed: Followed) -> AsyncIterator[bytes]:
    until = time.monotonic() + settings.events_longest_seconds
    queue = followed.subscription.queue
    yield _RETRY
    for event in followed.missed:
        yield frame(event.id, event.data())
    if followed.has_ended:
        return
    while (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(settings.events_heartbeat_seconds, left)):
                new = await queue.get()
        except TimeoutError:
            yield HEARTBEAT
            continue
        if new is None:
            # The client reconnects with the last id that it read, and misses nothing.
            return
        yield frame(new.id, new.data())
        if new.is_final and queue.empty():
            return
