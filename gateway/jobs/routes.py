"""The job as a resource: create, list, read, cancel, retry, accept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from gateway.app.context import Context
from gateway.app.services import Caller, IdempotencyKey, Parts, Poller, Services
from gateway.base.json_body import read_object
from gateway.base.problems import problem_responses
from gateway.jobs import create_job as creation
from gateway.jobs.legacy import (
    JOB_LINKS,
    STATUS_RESPONSES,
    JobId,
    KnownTag,
    job_links,
    read_job,
)
from gateway.jobs.request_mapping import Wire, flow_parameters, product_request
from gateway.jobs.request_models import JOB_EXAMPLE
from gateway.jobs.sources import Refused, Sources
from gateway.jobs.views import (
    JobCreated,
    JobList,
    JobView,
    Status,
    status_of,
    summary,
)
from gateway.jobs.webhook_config import checked_webhook, webhook_tags
from gateway.prefect_client.runs import UNFINISHED, NewJob, Run, fingerprint_of
from pro_video.core.settings import get_settings

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_FIELDS = frozenset(
    {"video", "audios", "segments_data", "effects", "display_name", "options", "webhook"}
)
_STATES: dict[Status, tuple[str, ...]] = {
    "processing": (*UNFINISHED, "CRASHED"),
    "completed": ("COMPLETED",),
    "failed": ("FAILED", "CRASHED"),
    "cancelled": ("CANCELLED",),
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/JobBody"},
                "example": JOB_EXAMPLE,
            }
        },
    }
}
# Microseconds of a time, and the jobs of exactly this time that were shown already.
_CURSOR = "^[0-9]{16}(~[0-9a-f]{32}){0,500}$"
_EPOCH = datetime.fromtimestamp(0, UTC)
_LOCATION = {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    summary="Hand a job over as JSON",
    responses={
        **problem_responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        200: {
            "model": JobCreated,
            "description": "The job that the same key made before.",
            "headers": _LOCATION,
            "links": JOB_LINKS,
        },
        201: {"headers": _LOCATION, "links": JOB_LINKS},
    },
    openapi_extra=_BODY,
)
async def create_job(
    request: Request,
    response: Response,
    context: Context,
    services: Parts,
    owner: Caller,
    key: IdempotencyKey,
) -> JobCreated:
    """For files that are uploaded already, or that are on the web."""
    body = await read_object(request)
    storage = await context.storage()
    sources = Sources(
        owner,
        storage,
        services.runs,
        services.uploads,
        prefixes=context.settings.source_prefixes,
    )
    wire = Wire(
        segments=body.get("segments_data"),
        effects=body.get("effects"),
        display_name=body.get("display_name"),
        options=body.get("options"),
    )
    for name in body:
        if name not in _FIELDS:
            wire.problem(str(name)[:200], "unknown_field", "is not a known field; remove it")
    video = await _resolved(wire, sources, body, "video")
    audios = await _audios(wire, sources, body.get("audios"))
    webhook = await checked_webhook(body.get("webhook"), wire.problems)
    checked = product_request(wire, video=video, audio_of=audios.get)
    job = NewJob(
        owner=owner,
        parameters=flow_parameters(wire, checked),
        segments_data=wire.segments,
        fingerprint=fingerprint_of({"json": body}),
        idempotency_key=key,
        uploads=tuple(dict.fromkeys(sources.uploads)),
        tags=webhook_tags(webhook),
    )
    view, is_new = await creation.create_job(services.runs, storage, job, webhook)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/api/v1/jobs/{view.job_id}"
    return view


@router.get(
    "",
    summary="Your jobs",
    responses={
        **problem_responses(401, 403, 422, 429, 503),
        200: {"links": job_links("get_job", job_id="/jobs/0/job_id")},
    },
)
async def list_jobs(
    services: Parts,
    owner: Caller,
    status: Annotated[Status | None, Query(description="Only jobs of this status.")] = None,
    cursor: Annotated[
        str | None, Query(pattern=_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobList:
    """The latest first."""
    place = None if cursor is None else _Cursor.read(cursor)
    filters: dict[str, Any] = {}
    if status is not None:
        filters["state"] = {"type": {"any_": list(_STATES[status])}}
    if place is not None:
        filters["expected_start_time"] = {"before_": place.before.isoformat()}
    skip = set(place.skip) if place else set()
    # One more than wanted tells whether there is a next page.
    found = await services.runs.search(owner, filters, limit=limit + len(skip) + 1)
    fresh = [run for run in found if str(run.id) not in skip]
    page = fresh[:limit]
    more = len(fresh) > limit
    snapshots = await services.status.snapshots(page)
    return JobList(
        jobs=[
            summary(snapshot)
            for snapshot in snapshots
            if status is None or status_of(snapshot.run) == status
        ],
        next_cursor=_Cursor.after(page, skip).write() if more else None,
    )


@router.get(
    "/{job_id}",
    summary="One job",
    response_model=JobView,
    responses=STATUS_RESPONSES,
)
async def get_job(
    job_id: JobId, services: Parts, owner: Poller, known: KnownTag = None
) -> Response:
    """The same as the editor's status endpoint."""
    return (await read_job(services, owner, job_id)).response(known)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=JobView,
    responses={
        **problem_responses(401, 403, 404, 409, 422, 429, 503),
        202: {"links": job_links("get_job", "retry_job")},
    },
)
async def cancel_job(job_id: JobId, services: Parts, owner: Caller) -> Response:
    """Waiting ends; what a provider has begun goes on there and is billed. Retrying the job picks
    its result up. Cancelling a cancelled job is fine."""
    await services.runs.cancel(owner, job_id)
    return await _changed(services, owner, job_id)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Retry a failed or cancelled job",
    response_model=JobView,
    responses={
        **problem_responses(401, 403, 404, 409, 422, 429, 503),
        202: {"links": job_links("get_job", "cancel_job")},
    },
)
async def retry_job(job_id: JobId, services: Parts, owner: Caller) -> Response:
    """Only the stage that failed is done again; what was finished is kept and not paid again. A
    held result is used as it is; an unusable one is fetched from the provider once more and judged
    again. Neither is bought again."""
    await services.runs.retry(owner, job_id)
    return await _changed(services, owner, job_id)


@router.post(
    "/{job_id}/accept",
    status_code=202,
    summary="Use a rejected result as it is",
    response_model=JobView,
    responses={
        **problem_responses(401, 403, 404, 409, 422, 429, 503),
        202: {"links": job_links("get_job", "cancel_job")},
    },
)
async def accept_job(job_id: JobId, services: Parts, owner: Caller) -> Response:
    """The job goes on with the held or unusable result that its `rejected_key` names: text removal
    follows when there are annotation areas; without any the job completes. Nothing is bought again
    for that result. The decision stands in the job's result, with the token's owner and the time.
    Accepting again changes nothing."""
    run = await services.runs.of_owner(owner, job_id)
    report = (await services.status.ended(run)).report
    await services.runs.accept(owner, job_id, (report or run.findings).rejected_key)
    return await _changed(services, owner, job_id)


async def _changed(services: Services, owner: str, job_id: UUID) -> Response:
    """The answer to an order that a job has taken."""
    services.status.forget(job_id)
    answer = await read_job(services, owner, job_id)
    return Response(answer.body, status_code=202, media_type="application/json")


@dataclass(frozen=True)
class _Cursor:
    """The end of a page: a time, and the jobs of exactly that time that were shown."""

    before: datetime
    skip: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> _Cursor:
        """A cursor that has the form :data:`_CURSOR`."""
        time, *skip = text.split("~")
        before = _EPOCH + timedelta(microseconds=int(time))
        return cls(before, tuple(str(UUID(one)) for one in skip))

    @classmethod
    def after(cls, page: list[Run], skipped: set[str]) -> _Cursor:
        last = _time(page[-1])
        same = [str(run.id) for run in page if _time(run) == last]
        # A page within one moment: what earlier pages showed of it is still to be left out.
        earlier = sorted(skipped) if _time(page[0]) == last else []
        return cls(last, (*earlier, *same))

    def write(self) -> str:
        """The cursor as text."""
        time = (self.before - _EPOCH) // timedelta(microseconds=1)
        return "~".join([f"{time:016}", *(UUID(one).hex for one in self.skip)])


def _time(run: Run) -> datetime:
    return run.expected_start_time or run.created


async def _resolved(wire: Wire, sources: Sources, body: dict[str, Any], name: str) -> str:
    try:
        if name not in body:
            raise Refused("missing", "is missing; name the video")
        return await sources.resolve(body[name])
    except Refused as refused:
        wire.problem(name, refused.code, refused.message)
        return "s3://placeholder/video"


async def _audios(wire: Wire, sources: Sources, given: object) -> dict[str, str]:
    if not isinstance(given, dict) or not given:
        wire.problem("audios", "missing", "must be an object that names an audio for each refId")
        return {}
    if len(given) > get_settings().max_segments:
        wire.problem("audios", "too_many", f"may name {get_settings().max_segments} audios at most")
        return {}
    found = {}
    for ref, source in given.items():
        try:
            found[ref] = await sources.resolve(source)
        except Refused as refused:
            wire.problem(f"audios.{ref[:200]}", refused.code, refused.message)
            found[ref] = "s3://placeholder/audio"
    return found
