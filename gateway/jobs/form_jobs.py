"""Makes jobs of the editor's form: receives it, stores its files, and removes unused ones."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from gateway.base.idempotency import fingerprint_of
from gateway.base.json_body import loads
from gateway.base.problems import FieldProblem, ProblemError
from gateway.base.settings import GatewaySettings
from gateway.bucket.bucket import Bucket
from gateway.bucket.objects import remove_all
from gateway.forms.admission import FormAdmission
from gateway.forms.multipart import boundary_of, form_too_large, read_form
from gateway.forms.receive import FormReceiver
from gateway.jobs.create_job import create_job
from gateway.jobs.request_mapping import (
    ClientRequest,
    distinct_refs,
    flow_parameters,
    product_request,
)
from gateway.jobs.views import JobCreated
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


@dataclass(frozen=True)
class FormJobs:
    """Makes jobs of forms, with the shared objects of its attributes."""

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
        room = await self._room(request, owner, key)
        async with self.admission.admitted():
            upload_id = secrets.token_hex(16)
            prefix = upload_prefix(owner, upload_id)
            storage = await self.bucket.storage()
            receiver = FormReceiver(storage, self.settings, prefix=prefix, room=room)
            is_used = False
            try:
                await read_form(request, receiver, self.settings)
                job, webhook = await _new_job(receiver, storage, owner, upload_id, key)
                view, is_used = await create_job(self.runs, storage, job, webhook)
                self.usage.add(owner, receiver.stored if is_used else 0)
                return view
            except (CreateUnanswered, ProVideoError) as error:
                # The job may exist, or come to exist; or it exists without its receiver.
                is_used = isinstance(error, CreateUnanswered) or await self._may_use(upload_id)
                if is_used:
                    self.orphans.add(prefix)
                raise
            finally:
                if not is_used:
                    await receiver.close()
                    self.orphans.add(prefix)
                    if await remove_all(storage, prefix, seconds=self.settings.upstream_seconds):
                        self.orphans.drop(prefix)

    async def _room(self, request: Request, owner: str, key: str | None) -> int:
        """Bytes that the owner may still store.

        Raises:
            ProblemError: 413 or 429, when the form cannot become a job.
        """
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
        return room

    async def _may_use(self, upload_id: str) -> bool:
        try:
            return await self.runs.uses_upload(upload_id)
        except ProblemError:
            return True


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
