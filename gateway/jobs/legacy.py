"""The two endpoints that the editor's backend knows."""

from __future__ import annotations

import logging
import secrets
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from gateway.app.context import Context, GatewayContext
from gateway.app.services import Caller, IdempotencyKey, Parts, Poller, Services
from gateway.base.draining_response import Lingering
from gateway.base.problems import (
    FieldProblem,
    ProblemError,
    problem_of,
    problem_response,
    problem_responses,
    request_id_of,
)
from gateway.bucket.objects import discard
from gateway.forms.multipart import ClientGone, boundary_of, form_too_large, read_form
from gateway.forms.receive import FormReceiver, no_room
from gateway.jobs.create_job import create_job
from gateway.jobs.form_schema import FORM_BODY
from gateway.jobs.request_mapping import (
    Wire,
    distinct_refs,
    flow_parameters,
    loads,
    product_request,
)
from gateway.jobs.views import JobCreated, JobView, job_view, status_of
from gateway.jobs.webhook_config import (
    WebhookBody,
    checked_webhook,
    webhook_content,
    webhook_tags,
)
from gateway.prefect_client.runs import CreateUnknown, NewJob, fingerprint_of
from gateway.status.status_reader import Snapshot
from gateway.status.status_response import Answer
from gateway.uploads.direct_uploads import upload_prefix
from pro_video.core.errors import ProVideoError
from pro_video.s3.storage import Storage

logger = logging.getLogger("pro_video.gateway.form")

router = APIRouter(prefix="/api/v1/video-editors", tags=["editor"])

JobId = Annotated[UUID, Path(description="Id of the job.")]

KnownTag = Annotated[
    str | None,
    Header(alias="If-None-Match", description="ETag of the answer that the client has."),
]

STATUS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {"description": "Names this answer.", "schema": {"type": "string"}},
        }
    },
    304: {"description": "Nothing has changed since the answer that If-None-Match names."},
    **problem_responses(401, 403, 404, 422, 429, 503),
}
"""Responses to a status read in the OpenAPI document."""


def job_links(*operations: str, job_id: str = "/job_id") -> dict[str, Any]:
    """OpenAPI links from a response to the operations on its job.

    Args:
        operations: names of the routes.
        job_id: where the answer has the job's id.
    """
    parameters = {"job_id": f"$response.body#{job_id}"}
    return {one: {"operationId": one, "parameters": parameters} for one in operations}


JOB_LINKS = job_links(
    "pro_job_status",
    "get_job",
    "cancel_job",
    "retry_job",
    "accept_job",
    "read_events",
    "read_log",
)
"""OpenAPI links to the operations on a new job."""


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
    request: Request, context: Context, services: Parts, owner: Caller, key: IdempotencyKey
) -> Any:
    """The parts may come in any order. Files stream into the bucket while they arrive; a request
    that is refused or breaks off leaves nothing there."""
    try:
        view = await _receive(request, context, services, owner, key)
    except ClientGone:
        return Response(status_code=400)
    except ProblemError as problem:
        answer = problem_response(problem, request_id_of(request))
        return Lingering(answer)
    except ProVideoError as error:
        answer = problem_response(problem_of(error), request_id_of(request))
        return Lingering(answer)
    return JSONResponse(view.model_dump(mode="json"))


@router.get(
    "/pro-job/{job_id}/status",
    summary="How far a job is",
    response_model=JobView,
    responses=STATUS_RESPONSES,
)
async def pro_job_status(
    job_id: JobId, services: Parts, owner: Poller, known: KnownTag = None
) -> Response:
    """May be a second old, however many ask."""
    return (await read_job(services, owner, job_id)).response(known)


async def read_job(services: Services, owner: str, job_id: UUID) -> Answer:
    """The whole view of a job of the owner.

    Raises:
        ProblemError: 404, also for another owner's job; 503.
    """

    async def render(snapshot: Snapshot) -> bytes:
        over = status_of(snapshot.run) != "processing"
        ended = await services.status.ended(snapshot.run) if over else None
        return job_view(snapshot, ended).model_dump_json().encode()

    return await services.status.answer(owner, job_id, render)


async def _receive(
    request: Request,
    context: GatewayContext,
    services: Services,
    owner: str,
    key: str | None,
) -> JobCreated:
    settings = context.settings
    boundary_of(request)
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    if announced > settings.max_form_bytes:
        raise form_too_large(settings)
    room = await services.usage.room(owner)
    if room < max(announced, 1):
        raise no_room(settings)
    if key is None:
        # With a key the request may be a repetition, which any number of jobs does not hinder.
        await services.runs.check_room(owner)
    async with services.forms.place():
        upload_id = secrets.token_hex(16)
        prefix = upload_prefix(owner, upload_id)
        storage = await context.storage()
        receiver = FormReceiver(storage, context.threads, settings, prefix=prefix, room=room)
        keep = False
        try:
            await read_form(request, receiver, settings)
            job, webhook = await _new_job(receiver, storage, owner, upload_id, key)
            view, keep = await create_job(services.runs, storage, job, webhook)
            services.usage.add(owner, receiver.stored if keep else 0)
        except (CreateUnknown, ProVideoError) as error:
            # The job may exist, or come to exist, although its answer could not be had; or it
            # exists, and its receiver could not be kept.
            keep = isinstance(error, CreateUnknown) or await _maybe_used(services, upload_id)
            if keep:
                services.leftovers.add(prefix)
            raise
        finally:
            if not keep:
                await receiver.close()
                services.leftovers.add(prefix)
                if await discard(
                    context.threads, storage, prefix, seconds=settings.upstream_seconds
                ):
                    services.leftovers.drop(prefix)
        return view


async def _maybe_used(services: Services, upload_id: str) -> bool:
    try:
        return await services.runs.uses_upload(upload_id)
    except ProblemError:
        return True


async def _new_job(
    receiver: FormReceiver, storage: Storage, owner: str, upload_id: str, key: str | None
) -> tuple[NewJob, WebhookBody | None]:
    texts = receiver.texts
    problems = list(receiver.problems)

    def missing(field: str, message: str) -> None:
        if field not in {problem.field for problem in problems}:
            problems.append(FieldProblem(field=field, code="missing", message=message))

    if receiver.video is None:
        missing("file", "is missing; send the video as a file")
    if "segments_data" not in texts:
        missing("segments_data", "is missing; send the segments as JSON")
    segments = _json(texts, "segments_data", problems)
    effects = _json(texts, "effects", problems)
    options = _json(texts, "options", problems)
    webhook = await checked_webhook(_json(texts, "webhook", problems), problems)
    refs = distinct_refs(segments)
    if not receiver.audios:
        missing("audio_files", "is missing; send a file for each distinct refId")
    elif isinstance(segments, list) and len(refs) != len(receiver.audios):
        problems.append(
            FieldProblem(
                field="audio_files",
                code="count_differs",
                message=f"has {len(receiver.audios)} files, but the segments name {len(refs)} "
                "distinct refIds; send one file for each",
            )
        )
    audio_of = {ref: storage.uri(audio) for ref, audio in zip(refs, receiver.audios, strict=False)}
    # A ref without a file is told once, as the number of files.
    spare = storage.uri("missing")
    wire = Wire(
        segments=segments,
        effects=effects,
        display_name=_name(texts, problems),
        options=options,
        strict=False,
        problems=problems,
    )
    checked = product_request(
        wire,
        video=storage.uri(receiver.video or "missing"),
        audio_of=lambda ref: audio_of.get(ref, spare),
    )
    written = [segments, effects, options, wire.display_name, webhook_content(webhook)]
    job = NewJob(
        owner=owner,
        parameters=flow_parameters(wire, checked),
        segments_data=segments,
        fingerprint=fingerprint_of({"form": written, **receiver.digests}),
        idempotency_key=key,
        uploads=(upload_id,),
        tags=webhook_tags(webhook),
    )
    return job, webhook


def _json(texts: dict[str, bytes], name: str, problems: list[FieldProblem]) -> Any:
    try:
        return loads(texts.get(name, b""), name)
    except ProblemError as problem:
        problems.extend(problem.errors)
        return None


def _name(texts: dict[str, bytes], problems: list[FieldProblem]) -> str:
    try:
        return texts.get("display_name", b"").decode("utf-8")
    except UnicodeDecodeError:
        problems.append(
            FieldProblem(field="display_name", code="not_utf8", message="must be text in UTF-8")
        )
        return ""
