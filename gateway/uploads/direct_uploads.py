"""Uploads that go from the client straight to the bucket, by presigned links for their parts."""

from __future__ import annotations

import hashlib
import logging
import math
import mimetypes
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway.app.context import GatewayContext
from gateway.auth.rate_limits import Usage, owner_prefix
from gateway.base.problems import ProblemError, invalid_field, not_found, unavailable
from gateway.bucket.objects import discard, in_thread, list_objects, target_of
from gateway.forms.receive import no_room
from gateway.prefect_client.runs import fingerprint_of
from pro_video.core.job_names import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS, extension
from pro_video.core.settings import get_settings
from pro_video.s3.errors import error_code, translated
from pro_video.s3.storage import Storage

logger = logging.getLogger("pro_video.gateway.uploads")

UPLOAD_ID = r"[0-9a-f]{32}"
RECORD = "upload.json"
_MIB = 1024 * 1024
_SMALLEST_PART = 16 * _MIB
_MOST_PARTS = 500
_RECORD_BYTES = 64 * 1024


def _whole(value: object) -> object:
    # For JSON 5.0 is the integer 5.
    return int(value) if isinstance(value, float) and value.is_integer() else value


class UploadRequest(BaseModel):
    """A request for a direct upload."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    filename: str = Field(
        min_length=1,
        max_length=255,
        description="Only its extension is used.",
        examples=["clip.mp4"],
    )
    size: Annotated[int, BeforeValidator(_whole)] = Field(
        ge=1, description="Exact size in bytes.", examples=[104857600]
    )


class UploadPart(BaseModel):
    """One part to send: PUT exactly ``size`` bytes to ``url``."""

    number: int
    size: int
    url: str = Field(description="Works until the upload expires, at most a day. A secret.")


class UploadView(BaseModel):
    """A direct upload."""

    upload_id: str
    source: str = Field(
        description="The upload as a source in a request for a job.",
        examples=["upload:4f0c8a52f6a04a5e8f6d1f4e3a0b9c7d"],
    )
    status: Literal["open", "complete"]
    size: int
    part_size: int
    expires_at: datetime
    parts: list[UploadPart] = Field(
        description="The parts that are still missing; ask again to resume."
    )
    complete_url: str
    abort_url: str


class UploadRecord(BaseModel):
    """The record of a direct upload, beside its file in the bucket."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    upload_id: str
    key: str
    s3_upload_id: str
    size: int
    part_size: int
    expires_at: datetime
    fingerprint: str

    def parts(self) -> Iterator[tuple[int, int]]:
        """Number and size of each part."""
        for number in range(1, math.ceil(self.size / self.part_size) + 1):
            yield number, min(self.part_size, self.size - (number - 1) * self.part_size)


def upload_prefix(owner: str, upload_id: str) -> str:
    """The prefix of one upload's objects."""
    return f"{owner_prefix(owner)}{upload_id}/"


class DirectUploads:
    """The direct uploads of all owners, in the bucket."""

    def __init__(self, context: GatewayContext, usage: Usage) -> None:
        self._context = context
        self._usage = usage

    async def create(
        self, owner: str, request: UploadRequest, idempotency_key: str | None
    ) -> tuple[UploadView, bool]:
        """Begin an upload, or find the one that the same key began.

        Raises:
            ProblemError: 413, 422 or 429.
        """
        largest = get_settings().max_source_bytes
        if request.size > largest:
            raise ProblemError(413, "file_too_large", f"A file may have {largest} bytes at most.")
        fingerprint = fingerprint_of(request.model_dump())
        upload_id = _upload_id(owner, idempotency_key)
        storage = await self._context.storage()
        if idempotency_key is not None:
            earlier = await self._record(storage, owner, upload_id)
            if earlier is not None:
                return await self._same(storage, earlier, fingerprint), False
        await self._check_limits(storage, owner, request.size)
        record = await self._begin(storage, owner, upload_id, request, fingerprint)
        if not await storage.put_bytes(
            upload_prefix(owner, upload_id) + RECORD,
            record.model_dump_json().encode(),
            content_type="application/json",
            if_absent=True,
        ):
            await self._abort(storage, record)
            earlier = await self._record(storage, owner, upload_id)
            if earlier is None:
                raise not_found("upload")
            return await self._same(storage, earlier, fingerprint), False
        self._usage.add(owner, request.size)
        return await self._view(storage, record), True

    async def get(self, owner: str, upload_id: str) -> UploadView:
        """An upload of the owner, with fresh links for the parts that are missing.

        Raises:
            ProblemError: 404.
        """
        storage = await self._context.storage()
        return await self._view(storage, await self.existing(storage, owner, upload_id))

    async def complete(self, owner: str, upload_id: str) -> UploadView:
        """Make the file of parts that have all arrived; once more is fine.

        Raises:
            ProblemError: 404; 409 when parts are missing or have other sizes.
        """
        storage = await self._context.storage()
        record = await self.existing(storage, owner, upload_id)
        if await storage.head(record.key) is None:
            await in_thread(self._context.threads, lambda: _complete(storage, record))
        return await self._view(storage, record)

    async def remove(self, owner: str, upload_id: str) -> None:
        """Abort an upload, or delete a complete one. Jobs that copied it already keep their copy.

        Raises:
            ProblemError: 404.
        """
        storage = await self._context.storage()
        await self.existing(storage, owner, upload_id)
        if not await discard(self._context.threads, storage, upload_prefix(owner, upload_id)):
            raise unavailable("The storage")

    async def existing(self, storage: Storage, owner: str, upload_id: str) -> UploadRecord:
        """The record of an upload of the owner.

        Raises:
            ProblemError: 404.
        """
        record = await self._record(storage, owner, upload_id)
        if record is None:
            raise not_found("upload")
        return record

    async def _record(self, storage: Storage, owner: str, upload_id: str) -> UploadRecord | None:
        raw = await storage.get_bytes(upload_prefix(owner, upload_id) + RECORD, _RECORD_BYTES)
        return None if raw is None else UploadRecord.model_validate_json(raw)

    async def _same(self, storage: Storage, record: UploadRecord, fingerprint: str) -> UploadView:
        if record.fingerprint != fingerprint:
            raise ProblemError(
                422,
                "idempotency_key_reused",
                "This Idempotency-Key was used with another request. Use a new key.",
            )
        return await self._view(storage, record)

    async def _check_limits(self, storage: Storage, owner: str, size: int) -> None:
        settings = self._context.settings
        if size > await self._usage.room(owner):
            raise no_room(settings)

        def count() -> int:
            keys = [found.key for found in list_objects(storage, owner_prefix(owner))]
            records = {key.rpartition("/")[0] for key in keys if key.endswith(f"/{RECORD}")}
            files = {key.rpartition("/")[0] for key in keys if "/file." in key}
            return len(records - files)

        if await in_thread(self._context.threads, count) >= settings.open_uploads:
            raise ProblemError(
                429,
                "too_many_uploads",
                f"{settings.open_uploads} uploads are open already. Complete or abort one.",
                retry_after=60,
            )

    async def _begin(
        self,
        storage: Storage,
        owner: str,
        upload_id: str,
        request: UploadRequest,
        fingerprint: str,
    ) -> UploadRecord:
        name = request.filename.replace("\\", "/").rpartition("/")[2]
        key = f"{upload_prefix(owner, upload_id)}file." + extension(
            name, VIDEO_EXTENSIONS | AUDIO_EXTENSIONS
        )
        content_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        target = target_of(storage, key, content_type)

        def begin() -> str:
            with translated(f"beginning the upload {upload_id}"):
                return target.client.create_multipart_upload(
                    Bucket=storage.bucket, Key=key, ContentType=content_type
                )["UploadId"]

        part_size = max(_SMALLEST_PART, math.ceil(request.size / _MOST_PARTS / _MIB) * _MIB)
        life = timedelta(hours=self._context.settings.upload_hours)
        return UploadRecord(
            upload_id=upload_id,
            key=key,
            s3_upload_id=await in_thread(self._context.threads, begin),
            size=request.size,
            part_size=part_size,
            expires_at=datetime.now(UTC) + life,
            fingerprint=fingerprint,
        )

    async def _abort(self, storage: Storage, record: UploadRecord) -> None:
        client = target_of(storage, record.key, "").client

        def abort() -> None:
            with translated(f"aborting the upload {record.upload_id}"):
                client.abort_multipart_upload(
                    Bucket=storage.bucket, Key=record.key, UploadId=record.s3_upload_id
                )

        await in_thread(self._context.threads, abort)

    async def _view(self, storage: Storage, record: UploadRecord) -> UploadView:
        complete = await storage.head(record.key) is not None
        parts: list[UploadPart] = []
        if not complete:
            parts = await in_thread(self._context.threads, lambda: _missing(storage, record))
        place = f"/api/v1/uploads/{record.upload_id}"
        return UploadView(
            upload_id=record.upload_id,
            source=f"upload:{record.upload_id}",
            status="complete" if complete else "open",
            size=record.size,
            part_size=record.part_size,
            expires_at=record.expires_at,
            parts=parts,
            complete_url=f"{place}/complete",
            abort_url=place,
        )


def _upload_id(owner: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return secrets.token_hex(16)
    content = f"upload\0{owner}\0{idempotency_key}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:32]


def _arrived(storage: Storage, record: UploadRecord) -> dict[int, tuple[int, str]]:
    """Size and ETag of the parts that S3 has; blocking."""
    client = target_of(storage, record.key, "").client
    found = {}
    try:
        for page in client.get_paginator("list_parts").paginate(
            Bucket=storage.bucket, Key=record.key, UploadId=record.s3_upload_id
        ):
            for part in page.get("Parts", []):
                found[part["PartNumber"]] = (part["Size"], part["ETag"])
    except ClientError as error:
        if error_code(error) == "NoSuchUpload":
            raise not_found("upload") from None
        with translated(f"looking at the upload {record.upload_id}"):
            raise
    return found


def _missing(storage: Storage, record: UploadRecord) -> list[UploadPart]:
    client = target_of(storage, record.key, "").client
    left = (record.expires_at - datetime.now(UTC)).total_seconds()
    if left <= 0:
        raise ProblemError(410, "upload_expired", "The upload has expired. Begin a new one.")
    arrived = _arrived(storage, record)
    parts = []
    for number, size in record.parts():
        if arrived.get(number, (0, ""))[0] != size:
            with translated(f"signing links of the upload {record.upload_id}"):
                url = client.generate_presigned_url(
                    "upload_part",
                    # The length is signed too: a link takes exactly the promised bytes.
                    Params={
                        "Bucket": storage.bucket,
                        "Key": record.key,
                        "UploadId": record.s3_upload_id,
                        "PartNumber": number,
                        "ContentLength": size,
                    },
                    ExpiresIn=max(1, int(min(left, 24 * 3600))),
                )
            parts.append(UploadPart(number=number, size=size, url=url))
    return parts


def _complete(storage: Storage, record: UploadRecord) -> None:
    client = target_of(storage, record.key, "").client
    arrived = _arrived(storage, record)
    wrong = [n for n, size in record.parts() if arrived.get(n, (0, ""))[0] != size]
    if wrong:
        shown = ", ".join(map(str, wrong[:10]))
        raise ProblemError(
            409,
            "upload_incomplete",
            f"{len(wrong)} parts are missing or have another size: {shown}. Send them, then "
            "complete again.",
        )
    with translated(f"completing the upload {record.upload_id}"):
        client.complete_multipart_upload(
            Bucket=storage.bucket,
            Key=record.key,
            UploadId=record.s3_upload_id,
            MultipartUpload={
                "Parts": [
                    {"PartNumber": number, "ETag": arrived[number][1]}
                    for number, _ in record.parts()
                ]
            },
        )


def check_idempotency_key(key: str | None) -> str | None:
    """A usable Idempotency-Key.

    Raises:
        ProblemError: 422.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise invalid_field("Idempotency-Key", "malformed", "must be 1 to 255 printable characters")
    return key
