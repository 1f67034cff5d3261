"""The job as a resource: create, list, read, cancel, retry, accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from gateway.auth.authenticate import Owner, StatusReadOwner
from gateway.base.idempotency import IdempotencyKey, fingerprint_of
from gateway.base.json_body import read_object
from gateway.base.problems import problem_responses
from gateway.base.services import Settings, service
from gateway.bucket.bucket import Bucket
from gateway.jobs import create_job as creation
from gateway.jobs.job_status import (
    JOB_LINKS,
    STATUS_RESPONSES,
    JobId,
    JobRuns,
    KnownTag,
    Statuses,
    job_links,
    read_job,
)
from gateway.jobs.request_mapping import (
    flow_parameters,
    product_request,
)
from gateway.jobs.request_models import JOB_BODY
from gateway.jobs.sources import Sources
from gateway.jobs.views import (
    JobCreated,
    JobList,
    JobView,
    Status,
    status_of,
    summary,
)
from gateway.jobs.webhook_config import checked_webhook, webhook_tags
from gateway.prefect_client.runs import UNFINISHED, NewJob, Run
from gateway.status.status_reader import StatusReader
from gateway.uploads.direct_uploads import DirectUploads

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_STATES: dict[Status, tuple[str, ...]] = {
    "processing": (*UNFINISHED, "CRASHED"),
    "completed": ("COMPLETED",),
    "failed": ("FAILED", "CRASHED"),
    "cancelled": ("CANCELLED",),
}
# Microseconds of a time, and the jobs of exactly this time that were shown already.
_CURSOR = "^[0-9]{16}(~[0-9a-f]{32}){0,500}$"
_EPOCH = datetime.fromtimestamp(0, UTC)
_LOCATION = {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}}
_Route = TypeVar("_Route", bound=Callable[..., Any])


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
    openapi_extra=JOB_BODY,
)
async def create_job(
    request: Request,
    response: Response,
    settings: Settings,
    bucket: Annotated[Bucket, service(Bucket)],
    uploads: Annotated[DirectUploads, service(DirectUploads)],
    runs: JobRuns,
    owner: Owner,
    key: IdempotencyKey,
) -> JobCreated:
    """For files that are uploaded already, or that are on the web."""
    body = await read_object(request)
    storage = await bucket.storage()
    sources = Sources(owner, storage, runs, uploads, prefixes=settings.source_prefixes)
    client, video, audios = await sources.resolve_request(body)
    webhook = await checked_webhook(body.get("webhook"), client.problems)
    checked = product_request(client, video=video, audio_of=audios.get)
    job = NewJob(
        owner=owner,
        parameters=flow_parameters(client, checked),
        segments_data=client.segments,
        fingerprint=fingerprint_of({"json": body}),
        idempotency_key=key,
        uploads=tuple(dict.fromkeys(sources.uploads)),
        tags=webhook_tags(webhook),
    )
    view, is_new = await creation.create_job(runs, storage, job, webhook)
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
    runs: JobRuns,
    statuses: Statuses,
    owner: Owner,
    status: Annotated[Status | None, Query(description="Only jobs of this status.")] = None,
    cursor: Annotated[
        str | None, Query(pattern=_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobList:
    """The latest first."""
    start = None if cursor is None else _Cursor.read(cursor)
    filters: dict[str, Any] = {}
    if status is not None:
        filters["state"] = {"type": {"any_": list(_STATES[status])}}
    if start is not None:
        filters["expected_start_time"] = {"before_": start.before.isoformat()}
    skip = set(start.skip) if start else set()
    # One more than wanted tells whether there is a next page.
    found = await runs.search(owner, filters, limit=limit + len(skip) + 1)
    fresh = [run for run in found if str(run.id) not in skip]
    page = fresh[:limit]
    more = len(fresh) > limit
    snapshots = await statuses.snapshots(page)
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
    job_id: JobId, statuses: Statuses, owner: StatusReadOwner, known: KnownTag = None
) -> Response:
    """May be a second old, however many clients ask."""
    return (await read_job(statuses, owner, job_id)).to(known)


def _post_change(action: str, summary: str, *, then: str) -> Callable[[_Route], _Route]:
    """The decorator of a route that changes a job; ``then`` is the change that may follow."""
    return router.post(
        f"/{{job_id}}/{action}",
        status_code=202,
        summary=summary,
        response_model=JobView,
        responses={
            **problem_responses(401, 403, 404, 409, 422, 429, 503),
            202: {"links": job_links("get_job", then)},
        },
    )


@_post_change("cancel", "Cancel a job", then="retry_job")
async def cancel_job(job_id: JobId, runs: JobRuns, statuses: Statuses, owner: Owner) -> Response:
    """The job stops waiting. Work that a provider has begun goes on there and is billed; a retry of
    the job picks up its result. A cancelled job stays as it is."""
    await runs.cancel(owner, job_id)
    return await _changed(statuses, owner, job_id)


@_post_change("retry", "Retry a failed or cancelled job", then="cancel_job")
async def retry_job(job_id: JobId, runs: JobRuns, statuses: Statuses, owner: Owner) -> Response:
    """Only the stage that failed is done again; finished stages are kept and not paid again. A held
    result is used as it is. An unusable one is fetched from the provider once more and checked
    again. Neither is bought again."""
    await runs.retry(owner, job_id)
    return await _changed(statuses, owner, job_id)


@_post_change("accept", "Use a rejected result as it is", then="cancel_job")
async def accept_job(job_id: JobId, runs: JobRuns, statuses: Statuses, owner: Owner) -> Response:
    """The job continues with the held or unusable result of its `rejected_key`. Text removal
    follows when there are annotation areas; without any the job completes. That result is not
    bought again. The job's report has the owner of the token and the time. Accepting again changes
    nothing."""
    run = await runs.of_owner(owner, job_id)
    report = (await statuses.ended(run)).report
    await runs.accept(owner, job_id, (report or run.findings).rejected_key)
    return await _changed(statuses, owner, job_id)


async def _changed(statuses: StatusReader, owner: str, job_id: UUID) -> Response:
    """The response to a change: the job as it is now."""
    statuses.forget(job_id)
    current = await read_job(statuses, owner, job_id)
    return Response(current.body, status_code=202, media_type="application/json")


@dataclass(frozen=True)
class _Cursor:
    """The end of a page: a time, and the jobs of exactly this time that were shown."""

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
        # All of the page has one time: the jobs of earlier pages are still to be skipped.
        earlier = sorted(skipped) if _time(page[0]) == last else []
        return cls(last, (*earlier, *same))

    def write(self) -> str:
        """The cursor as text."""
        time = (self.before - _EPOCH) // timedelta(microseconds=1)
        return "~".join([f"{time:016}", *(UUID(one).hex for one in self.skip)])


def _time(run: Run) -> datetime:
    return run.expected_start_time or run.created
