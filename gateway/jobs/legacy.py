"""The two routes of the editor's first backend: a job as a form, and its status."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from gateway.auth.authenticate import Owner, StatusReadOwner
from gateway.base.draining_response import DrainingResponse
from gateway.base.idempotency import IdempotencyKey
from gateway.base.problems import (
    ProblemError,
    problem_of,
    problem_response,
    problem_responses,
    request_id_of,
)
from gateway.base.services import service
from gateway.forms.multipart import ClientGone
from gateway.jobs.form_jobs import FormJobs
from gateway.jobs.form_schema import FORM_BODY
from gateway.jobs.job_status import (
    JOB_LINKS,
    STATUS_RESPONSES,
    JobId,
    KnownTag,
    Statuses,
    read_job,
)
from gateway.jobs.views import JobCreated, JobView
from pro_video.core.errors import ProVideoError

router = APIRouter(prefix="/api/v1/video-editors", tags=["editor"])


@router.post(
    "/pro-sync-process",
    summary="Hand a job over as a form",
    response_model=JobCreated,
    responses={
        **problem_responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        200: {"links": JOB_LINKS},
    },
    openapi_extra={"requestBody": FORM_BODY},
)
async def pro_sync_process(
    request: Request,
    forms: Annotated[FormJobs, service(FormJobs)],
    owner: Owner,
    key: IdempotencyKey,
) -> Any:
    """The parts may come in any order. Files are stored while they arrive; a request that is
    refused or breaks off leaves nothing in the bucket."""
    try:
        view = await forms.create(request, owner, key)
    except ClientGone:
        return Response(status_code=400)
    except (ProblemError, ProVideoError) as error:
        problem = error if isinstance(error, ProblemError) else problem_of(error)
        return DrainingResponse(problem_response(problem, request_id_of(request)))
    return JSONResponse(view.model_dump(mode="json"))


@router.get(
    "/pro-job/{job_id}/status",
    summary="How far a job is",
    response_model=JobView,
    responses=STATUS_RESPONSES,
)
async def pro_job_status(
    job_id: JobId, statuses: Statuses, owner: StatusReadOwner, known: KnownTag = None
) -> Response:
    """The same as `GET /api/v1/jobs/{job_id}`."""
    return (await read_job(statuses, owner, job_id)).to(known)
