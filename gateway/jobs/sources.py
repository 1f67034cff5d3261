"""Resolves the sources of a JSON request: the owner's uploads and jobs, allowed places in S3, and
addresses on the web."""

from __future__ import annotations

import re
from uuid import UUID

from gateway.auth.rate_limits import owner_prefix
from gateway.base.problems import ProblemError
from gateway.prefect_client.runs import Runs
from gateway.uploads.direct_uploads import UPLOAD_ID, DirectUploads
from pro_video.core.errors import SourceRefused
from pro_video.s3.storage import Storage, parse_s3_uri

_UPLOAD = re.compile(f"upload:({UPLOAD_ID})")
_OWN_UPLOAD = re.compile(f"({UPLOAD_ID})/")
_OWN_JOB = re.compile(r"jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/.")


class Refused(Exception):
    """A source that the request may not name."""

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
            Refused: it may not be used.
        """
        if not isinstance(source, str):
            raise Refused("wrong_type", "must be text")
        source = source.strip()
        scheme = source.partition(":")[0].lower()
        if scheme == "upload":
            return await self._upload(source)
        if scheme == "s3":
            return await self._object(source)
        if scheme in ("http", "https"):
            return source
        raise Refused(
            "source_scheme", "must be upload:<id>, an s3:// address or an https:// address"
        )

    async def _upload(self, source: str) -> str:
        match = _UPLOAD.fullmatch(source)
        try:
            if match is None:
                raise Refused("upload_not_found", "names no upload of yours")
            record = await self._direct.existing(self._storage, self._owner, match[1])
        except ProblemError as problem:
            if problem.status != 404:
                raise
            raise Refused("upload_not_found", "names no upload of yours") from None
        if await self._storage.head(record.key) is None:
            raise Refused("upload_incomplete", "names an upload that is not completed yet")
        self.uploads.append(record.upload_id)
        return self._storage.uri(record.key)

    async def _object(self, source: str) -> str:
        try:
            bucket, key = parse_s3_uri(source)
        except SourceRefused as refused:
            raise Refused("source_malformed", refused.message) from None
        # A proxy or a server may take these for steps in a path, out of what a client may read.
        if {"", ".", ".."} & set(key.split("/")):
            raise Refused(
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
        raise Refused(
            "source_forbidden",
            "is not one of your uploads or jobs, nor in a place that the installation allows",
        )

    async def _owns(self, job_id: UUID) -> bool:
        try:
            await self._runs.of_owner(self._owner, job_id)
        except ProblemError as problem:
            if problem.status != 404:
                raise
            return False
        return True
