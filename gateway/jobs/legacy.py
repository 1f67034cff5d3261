"""The two routes of the editor's first backend: a job as a form, and its status."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from gateway.auth.authenticate import Owner, StatusReadOwner
from gateway.base.draining_response import DrainingResponse
from gateway.base.idempotency import IdempotencyKey, fingerprint_of
from gateway.base.json_body import loads
from gateway.base.problems import (
    FieldProblem,
    ProblemError,
    problem_of,
    problem_response,
    problem_responses,
    request_id_of,
)
from gateway.base.services import service
from gateway.base.settings import GatewaySettings
from gateway.bucket.bucket import Bucket
from gateway.bucket.objects import remove_all
from gateway.forms.admission import FormAdmission
from gateway.forms.multipart import ClientGone, boundary_of, form_too_large, read_form
from gateway.forms.receive import FormReceiver
from gateway.jobs.create_job import create_job
from gateway.jobs.form_schema import FORM_BODY
from gateway.jobs.job_status import (
    JOB_LINKS,
    STATUS_RESPONSES,
    JobId,
    KnownTag,
    Statuses,
    read_job,
)
from gateway.jobs.request_mapping import (
    ClientRequest,
    distinct_refs,
    flow_parameters,
    product_request,
)
from gateway.jobs.views import JobCreated, JobView
from gateway.jobs.webhook_config import (
    WebhookBody,
    checked_webhook,
    webhook_content,
    webhook_tags,
)
from gateway.prefect_client.runs import CreateUnanswered, NewJob, Runs
from gateway.uploads.orphan_uploads import OrphanUploads
from gateway.uploads.usage import StorageUsage, storage_full, upload_prefix
from pro_video.core.errors import ProVideoError
from pro_video.s3.storage import Storage

router = APIRouter(prefix="/api/v1/video-editors", tags=["editor"])


@dataclass(frozen=True)
class FormJobs:
    """Makes jobs of forms. The attributes are the services that this takes."""

    settings: GatewaySettings
    bucket: Bucket
    runs: Runs
    usage: StorageUsage
    admission: FormAdmission
    orphans: OrphanUploads

    async def create(self, request: Request, owner: str, key: str | None) -> JobCreated:
        """A job of a form, whose files are stored while they arrive.

        Raises:
            ClientGone: the client disconnected.
            ProblemError: the form is refused, or a service is away.
            ProVideoError: the bucket did not take a file.
        """
        boundary_of(request)
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        if announced > self.settings.max_form_bytes:
            raise form_too_large(self.settings)
        room = await self.usage.room(owner)
        if room < max(announced, 1):
            raise storage_full(self.settings)
        if key is None:
            # With a key the request may be a repetition, which counts for no limit of jobs.
            await self.runs.check_room(owner)
        async with self.admission.admitted():
            upload_id = secrets.token_hex(16)
            storage = await self.bucket.storage()
            receiver = FormReceiver(
                storage, self.settings, prefix=upload_prefix(owner, upload_id), room=room
            )
            async with self._removed_unless_used(receiver, storage, owner, upload_id) as upload:
                await read_form(request, receiver, self.settings)
                job, webhook = await _new_job(receiver, storage, owner, upload_id, key)
                view, upload.is_used = await create_job(self.runs, storage, job, webhook)
            return view

    @contextlib.asynccontextmanager
    async def _removed_unless_used(
        self, receiver: FormReceiver, storage: Storage, owner: str, upload_id: str
    ) -> AsyncIterator[_Upload]:
        """Remove the files of a form at the end of the block, unless a job uses them."""
        upload = _Upload()
        prefix = upload_prefix(owner, upload_id)
        try:
            yield upload
            self.usage.add(owner, receiver.stored if upload.is_used else 0)
        except CreateUnanswered:
            # The job may exist, or come to exist.
            upload.is_used = True
            self.orphans.add(prefix)
            raise
        except ProVideoError:
            # The job may exist without its receiver.
            upload.is_used = await self._may_use(upload_id)
            if upload.is_used:
                self.orphans.add(prefix)
            raise
        finally:
            if not upload.is_used:
                await receiver.close()
                self.orphans.add(prefix)
                if await remove_all(storage, prefix, seconds=self.settings.upstream_seconds):
                    self.orphans.drop(prefix)

    async def _may_use(self, upload_id: str) -> bool:
        try:
            return await self.runs.uses_upload(upload_id)
        except ProblemError:
            return True


@dataclass
class _Upload:
    is_used: bool = False


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


async def _new_job(
    receiver: FormReceiver, storage: Storage, owner: str, upload_id: str, key: str | None
) -> tuple[NewJob, WebhookBody | None]:
    """The job of a form that arrived whole.

    Raises:
        ProblemError: 422 with every problem at once.
    """
    texts = receiver.texts
    problems = list(receiver.problems)
    segments, effects, options, webhook_json = (
        _json(texts, name, problems) for name in ("segments_data", "effects", "options", "webhook")
    )
    webhook = await checked_webhook(webhook_json, problems)
    client = ClientRequest(
        segments=segments,
        effects=effects,
        display_name=_display_name(texts, problems),
        options=options,
        strict=False,
        problems=problems,
    )
    refs = distinct_refs(segments)
    _check_files(receiver, client, refs)
    audio_of = {ref: storage.uri(audio) for ref, audio in zip(refs, receiver.audios, strict=False)}
    # Missing files are one problem of their own: those of the single refs would repeat it.
    missing = storage.uri("missing")
    checked = product_request(
        client,
        video=storage.uri(receiver.video) if receiver.video else missing,
        audio_of=lambda ref: audio_of.get(ref, missing),
    )
    content = [segments, effects, options, client.display_name, webhook_content(webhook)]
    job = NewJob(
        owner=owner,
        parameters=flow_parameters(client, checked),
        segments_data=segments,
        fingerprint=fingerprint_of({"form": content, **receiver.digests}),
        idempotency_key=key,
        uploads=(upload_id,),
        tags=webhook_tags(webhook),
    )
    return job, webhook


def _check_files(receiver: FormReceiver, client: ClientRequest, refs: list[str]) -> None:
    """Add problems for missing parts, and for a number of audio files unlike that of the refIds."""
    wrong = {problem.field for problem in client.problems}
    if receiver.video is None and "file" not in wrong:
        client.problem("file", "missing", "is missing; send the video as a file")
    if "segments_data" not in receiver.texts and "segments_data" not in wrong:
        client.problem("segments_data", "missing", "is missing; send the segments as JSON")
    if not receiver.audios:
        if "audio_files" not in wrong:
            message = "is missing; send a file for each distinct refId"
            client.problem("audio_files", "missing", message)
    elif isinstance(client.segments, list) and len(refs) != len(receiver.audios):
        client.problem(
            "audio_files",
            "count_differs",
            f"has {len(receiver.audios)} files, but the segments name {len(refs)} distinct refIds; "
            "send one file for each",
        )


def _json(texts: dict[str, bytes], name: str, problems: list[FieldProblem]) -> Any:
    try:
        return loads(texts.get(name, b""), name)
    except ProblemError as problem:
        problems.extend(problem.errors)
        return None


def _display_name(texts: dict[str, bytes], problems: list[FieldProblem]) -> str:
    try:
        return texts.get("display_name", b"").decode("utf-8")
    except UnicodeDecodeError:
        problems.append(
            FieldProblem(field="display_name", code="not_utf8", message="must be text in UTF-8")
        )
        return ""
