"""The sources of a JSON request: uploads and jobs of the owner, allowed S3 prefixes, links."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from gateway.base.problems import ProblemError
from gateway.jobs.request_mapping import PLACEHOLDER, ClientRequest
from gateway.jobs.request_models import JobBody
from gateway.prefect_client.runs import Runs
from gateway.uploads.direct_uploads import UPLOAD_ID, DirectUploads
from gateway.uploads.usage import owner_prefix
from pro_video.core.errors import SourceRefused
from pro_video.core.settings import get_settings
from pro_video.s3.storage import Storage, parse_s3_uri

_UPLOAD = re.compile(f"upload:({UPLOAD_ID})")
_OWN_UPLOAD = re.compile(f"({UPLOAD_ID})/")
_OWN_JOB = re.compile(r"jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/.")


class SourceProblem(Exception):
    """A source cannot be used: the code and message of the problem of its field."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Sources:
    """Resolves the sources of one request.

    Attributes:
        uploads: ids of the owner's uploads that the request uses.
    """

    def __init__(
        self,
        owner: str,
        storage: Storage,
        runs: Runs,
        uploads: DirectUploads,
        *,
        prefixes: list[str],
    ) -> None:
        self.uploads: list[str] = []
        self._owner = owner
        self._storage = storage
        self._runs = runs
        self._direct = uploads
        self._prefixes = prefixes

    async def resolve(self, source: object) -> str:
        """The address that the job gets.

        Raises:
            SourceProblem: it cannot be used.
        """
        if not isinstance(source, str):
            raise SourceProblem("wrong_type", "must be text")
        source = source.strip()
        scheme = source.partition(":")[0].lower()
        if scheme == "upload":
            return await self._upload(source)
        if scheme == "s3":
            return await self._object(source)
        if scheme in ("http", "https"):
            return source
        raise SourceProblem(
            "source_scheme", "must be upload:<id>, an s3:// address or an https:// address"
        )

    async def resolve_request(
        self, body: dict[str, Any]
    ) -> tuple[ClientRequest, str, dict[str, str]]:
        """A JSON request, the address of its video, and those of its audios by their refId; what
        cannot be used is a problem of the request."""
        client = ClientRequest(
            segments=body.get("segments_data"),
            effects=body.get("effects"),
            display_name=body.get("display_name"),
            options=body.get("options"),
        )
        client.refuse_unknown("", body, JobBody)
        video = await _video(client, self, body)
        return client, video, await _audios(client, self, body.get("audios"))

    async def _upload(self, source: str) -> str:
        missing = SourceProblem("upload_not_found", "names no upload of yours; use its `source`")
        match = _UPLOAD.fullmatch(source)
        if match is None:
            raise missing
        try:
            record = await self._direct.existing(self._storage, self._owner, match[1])
        except ProblemError as problem:
            if problem.status != 404:
                raise
            raise missing from None
        if await self._storage.head(record.key) is None:
            raise SourceProblem(
                "upload_incomplete",
                "names an upload that is not completed; send its parts and complete it",
            )
        self.uploads.append(record.upload_id)
        return self._storage.uri(record.key)

    async def _object(self, source: str) -> str:
        try:
            bucket, key = parse_s3_uri(source)
        except SourceRefused as refused:
            raise SourceProblem("source_malformed", refused.message) from None
        # A proxy or a server may resolve them to a path that the client may not read.
        if {"", ".", ".."} & set(key.split("/")):
            raise SourceProblem(
                "source_malformed", 'has an empty, "." or ".." part in its key; rename the object'
            )
        address = f"s3://{bucket}/{key}"
        if any(address.startswith(prefix) for prefix in self._prefixes):
            return address
        if bucket == self._storage.bucket:
            own = owner_prefix(self._owner)
            upload = _OWN_UPLOAD.match(key[len(own) :]) if key.startswith(own) else None
            if upload is not None:
                self.uploads.append(upload[1])
                return address
            job = _OWN_JOB.match(key)
            if job is not None and await self._owns(UUID(job[1])):
                return address
        raise SourceProblem(
            "source_forbidden",
            "is not one of your uploads or jobs, nor below a prefix that this installation allows",
        )

    async def _owns(self, job_id: UUID) -> bool:
        try:
            await self._runs.of_owner(self._owner, job_id)
        except ProblemError as problem:
            if problem.status != 404:
                raise
            return False
        return True


async def _video(client: ClientRequest, sources: Sources, body: dict[str, Any]) -> str:
    if "video" not in body:
        client.problem("video", "missing", "is missing; name the video")
        return PLACEHOLDER
    return await _resolved(client, sources, body["video"], "video")


async def _resolved(client: ClientRequest, sources: Sources, source: object, name: str) -> str:
    try:
        return await sources.resolve(source)
    except SourceProblem as problem:
        client.problem(name, problem.code, problem.message)
        return PLACEHOLDER


async def _audios(client: ClientRequest, sources: Sources, given: object) -> dict[str, str]:
    most = get_settings().max_segments
    if not isinstance(given, dict) or not given:
        client.problem("audios", "missing", "must be an object that names an audio for each refId")
        return {}
    if len(given) > most:
        client.problem("audios", "too_many", f"may name {most} audios at most")
        return {}
    return {
        ref: await _resolved(client, sources, source, f"audios.{ref[:200]}")
        for ref, source in given.items()
    }
