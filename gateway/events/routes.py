"""A job's events as a stream (server-sent events), for clients that would otherwise poll."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.app.context import Context
from gateway.app.services import Caller, Parts
from gateway.base.problems import ProblemError, problem_responses
from gateway.events.hub import EventHub, Seat
from gateway.events.stream import HEARTBEAT, EventStream, frame
from gateway.jobs.legacy import JobId

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


class EventSettings(BaseSettings):
    """Each field is the environment variable ``PRO_VIDEO_GATEWAY_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="PRO_VIDEO_GATEWAY_", frozen=True, extra="ignore")

    events_heartbeat_seconds: float = Field(
        15.0, gt=0, description="A quiet stream of events says this often that it is there."
    )
    events_longest_seconds: float = Field(
        3600.0, gt=0, description="A stream ends after this time; its client comes back by itself."
    )
    events_send_seconds: float = Field(
        30.0, gt=0, description="A client that takes no bytes for this time is dropped."
    )
    events_listeners: int = Field(2000, ge=1, description="Streams at the same time.")
    events_listeners_of_owner: int = Field(
        200, ge=1, description="Streams of one owner at the same time."
    )
    events_look_seconds: float = Field(
        1.0, gt=0, description="Pause between two looks at the percentages of watched jobs."
    )


class Streams:
    """The streams of one application."""

    def __init__(self, settings: EventSettings, hub: EventHub) -> None:
        self.settings = settings
        self.hub = hub
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """One stream's place while the block runs.

        Raises:
            ProblemError: 429 when the owner has as many as one may, 503 when all are taken.
        """
        if self._open[owner] >= self.settings.events_listeners_of_owner:
            raise _too_many(429, "You have as many streams open as you may.")
        if self._open.total() >= self.settings.events_listeners:
            raise _too_many(503, "Too many streams are open.")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            # Owners come and go.
            self._open += Counter()


def _too_many(status: int, what: str) -> ProblemError:
    return ProblemError(status, "too_many_streams", f"{what} Poll the status.", retry_after=30)


def streams_of(request: Request, context: Context, services: Parts) -> Streams:
    """The streams of the application that handles ``request``; made with the first one."""
    state = request.app.state
    if not hasattr(state, "streams"):
        settings = EventSettings()
        hub = EventHub(
            context.api, services.runs, services.status, look_seconds=settings.events_look_seconds
        )
        state.streams = Streams(settings, hub)
    streams = state.streams
    assert isinstance(streams, Streams)
    return streams


def end_streams(app: FastAPI) -> None:
    """Let all streams of an application end, so that a server that stops need not wait for them."""
    streams = getattr(app.state, "streams", None)
    if isinstance(streams, Streams):
        streams.hub.end_all()


@router.get(
    "/{job_id}/events",
    summary="Events of a job",
    response_class=Response,
    responses={
        200: {
            "description": "The job as it is, then each change of stage, percentage or status; "
            "ends with the job. `: …` lines are heartbeats.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}},
        },
        204: {"description": "The job has ended, and its last event was seen."},
        **problem_responses(401, 403, 404, 422, 429, 503),
    },
)
async def read_events(
    job_id: JobId,
    owner: Caller,
    services: Parts,
    streams: Annotated[Streams, Depends(streams_of)],
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=200,
            description="id of the last event seen; everything after it is told again.",
        ),
    ] = None,
) -> Response:
    """Server-sent events: `EventSource` follows them and reconnects by itself."""
    await services.status.snapshot(owner, job_id)
    async with AsyncExitStack() as stack:
        stack.enter_context(streams.place(owner))
        seat = await stack.enter_async_context(streams.hub.listening(job_id, last_event_id))
        if seat.is_over and not seat.missed:
            # EventSource takes this as the order to stop coming back.
            return Response(status_code=204)
        leaving = stack.pop_all()
    return EventStream(
        _chunks(streams.settings, seat),
        leave=leaving.aclose,
        send_seconds=streams.settings.events_send_seconds,
    )


async def _chunks(settings: EventSettings, seat: Seat) -> AsyncIterator[bytes]:
    until = time.monotonic() + settings.events_longest_seconds
    queue = seat.listener.queue
    yield _RETRY
    for moment in seat.missed:
        yield frame(moment.id, moment.data())
    if seat.is_over:
        return
    while (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(settings.events_heartbeat_seconds, left)):
                news = await queue.get()
        except TimeoutError:
            yield HEARTBEAT
            continue
        if news is None:
            # The client comes back with the last id that it took, and misses nothing.
            return
        yield frame(news.id, news.data())
        if news.is_final and queue.empty():
            return
