"""The price of a request: checks it and its files, and starts nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from gateway.auth.authenticate import Owner
from gateway.base.json_body import read_object
from gateway.base.problems import problem_responses
from gateway.base.services import Settings, service
from gateway.bucket.bucket import Bucket
from gateway.estimates.estimate import EstimateView, estimate_view, probed
from gateway.jobs.job_status import JobRuns
from gateway.jobs.request_mapping import product_request
from gateway.jobs.request_models import JOB_BODY
from gateway.jobs.sources import Sources
from gateway.uploads.direct_uploads import DirectUploads

router = APIRouter(prefix="/api/v1/estimates", tags=["jobs"])


@router.post(
    "",
    summary="The price of a job, before there is one",
    responses=problem_responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
    openapi_extra=JOB_BODY,
)
async def estimate_job(
    request: Request,
    settings: Settings,
    bucket: Annotated[Bucket, service(Bucket)],
    uploads: Annotated[DirectUploads, service(DirectUploads)],
    runs: JobRuns,
    owner: Owner,
) -> EstimateView:
    """The body is that of a job. The request and its files are checked as a job's are, and nothing
    is started or paid. The files have to be uploads or objects: a link is not followed here. A
    lip-sync counts as bought, also where the job would reuse one."""
    body = await read_object(request)
    storage = await bucket.storage()
    sources = Sources(owner, storage, runs, uploads, prefixes=settings.source_prefixes)
    client, video, audios = await sources.resolve_request(body)
    checked = product_request(client, video=video, audio_of=audios.get)
    names = {video: "video"} | {source: f"audios.{ref[:200]}" for ref, source in audios.items()}
    return estimate_view(await probed(storage, checked, names), client)
