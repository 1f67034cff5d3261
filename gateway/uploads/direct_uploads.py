"""Direct uploads: the client sends each part to a presigned link of the bucket."""

from __future__ import annotations

import logging
import math
import mimetypes
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway.base.idempotency import check_fingerprint, fingerprint_of, scoped_key
from gateway.base.problems import ProblemError, not_found, unavailable
from gateway.base.settings import GatewaySettings
from gateway.bucket.bucket import Bucket
from gateway.bucket.objects import client_of, in_thread, list_objects, list_parts, remove_all
from gateway.uploads.usage import StorageUsage, owner_prefix, storage_full, upload_prefix
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
    """One part: PUT exactly ``size`` bytes to ``url``."""

    number: int
    size: int
    url: str = Field(
        description="Link that works until the upload expires, a day at most. Keep it secret."
    )


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
    parts: list[UploadPart] = Field(description="The missing parts. Ask again to resume.")
    complete_url: str
    abort_url: str


class UploadRecord(BaseModel):
    """A direct upload as stored beside its file in the bucket."""

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


class DirectUploads:
    """The direct uploads of all owners."""

    def __init__(self, settings: GatewaySettings, bucket: Bucket, usage: StorageUsage) -> None:
        self._settings = settings
        self._bucket = bucket
        self._usage = usage

    async def create(
        self, owner: str, request: UploadRequest, idempotency_key: str | None
    ) -> tuple[UploadView, bool]:
        """A new upload, or the one that the same key began.

        Returns:
            The upload, and whether it is new.

        Raises:
            ProblemError: 413, 422 or 429.
        """
        largest = get_settings().max_source_bytes
        if request.size > largest:
            raise ProblemError(
                413,
                "file_too_large",
                f"A file may have {largest} bytes at most. Nothing was begun.",
            )
        fingerprint = fingerprint_of(request.model_dump())
        upload_id = _upload_id(owner, idempotency_key)
        storage = await self._bucket.storage()
        if idempotency_key is not None:
            earlier = await self._record(storage, owner, upload_id)
            if earlier is not None:
                check_fingerprint(earlier.fingerprint, fingerprint)
                return await self._view(storage, earlier), False
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
            check_fingerprint(earlier.fingerprint, fingerprint)
            return await self._view(storage, earlier), False
        self._usage.add(owner, request.size)
        return await self._view(storage, record), True

    async def get(self, owner: str, upload_id: str) -> UploadView:
        """An upload of the owner, with fresh links for the parts that are missing.

        Raises:
            ProblemError: 404.
        """
        storage = await self._bucket.storage()
        return await self._view(storage, await self.existing(storage, owner, upload_id))

    async def complete(self, owner: str, upload_id: str) -> UploadView:
        """Complete an upload whose parts have all arrived; a complete one stays as it is.

        Raises:
            ProblemError: 404; 409 when parts are missing or have other sizes.
        """
        storage = await self._bucket.storage()
        record = await self.existing(storage, owner, upload_id)
        if await storage.head(record.key) is None:
            await in_thread(lambda: _complete(storage, record))
        return await self._view(storage, record)

    async def remove(self, owner: str, upload_id: str) -> None:
        """Abort an open upload, or delete a complete one. Jobs keep the copies that they made.

        Raises:
            ProblemError: 404.
        """
        storage = await self._bucket.storage()
        await self.existing(storage, owner, upload_id)
        if not await remove_all(storage, upload_prefix(owner, upload_id)):
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
        raw = await storage.get_bytes(upload_prefix(owner, upload_id) + RECORD)
        return None if raw is None else UploadRecord.model_validate_json(raw)

    async def _check_limits(self, storage: Storage, owner: str, size: int) -> None:
        if size > await self._usage.room(owner):
            raise storage_full(self._settings)

        def count() -> int:
            keys = [found.key for found in list_objects(storage, owner_prefix(owner))]
            records = {key.rpartition("/")[0] for key in keys if key.endswith(f"/{RECORD}")}
            files = {key.rpartition("/")[0] for key in keys if "/file." in key}
            return len(records - files)

        limit = self._settings.open_uploads
        if await in_thread(count) >= limit:
            raise ProblemError(
                429,
                "too_many_uploads",
                f"You have {limit} open uploads, which is the limit. Nothing was begun; complete "
                "or abort one.",
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

        def begin() -> str:
            with translated(f"beginning the upload {upload_id}"):
                return client_of(storage).create_multipart_upload(
                    Bucket=storage.bucket, Key=key, ContentType=content_type
                )["UploadId"]

        part_size = max(_SMALLEST_PART, math.ceil(request.size / _MOST_PARTS / _MIB) * _MIB)
        life = timedelta(hours=self._settings.upload_hours)
        return UploadRecord(
            upload_id=upload_id,
            key=key,
            s3_upload_id=await in_thread(begin),
            size=request.size,
            part_size=part_size,
            expires_at=datetime.now(UTC) + life,
            fingerprint=fingerprint,
        )

    async def _abort(self, storage: Storage, record: UploadRecord) -> None:
        def abort() -> None:
            with translated(f"aborting the upload {record.upload_id}"):
                client_of(storage).abort_multipart_upload(
                    Bucket=storage.bucket, Key=record.key, UploadId=record.s3_upload_id
                )

        await in_thread(abort)

    async def _view(self, storage: Storage, record: UploadRecord) -> UploadView:
        complete = await storage.head(record.key) is not None
        parts: list[UploadPart] = []
        if not complete:
            parts = await in_thread(lambda: _missing(storage, record))
        url = f"/api/v1/uploads/{record.upload_id}"
        return UploadView(
            upload_id=record.upload_id,
            source=f"upload:{record.upload_id}",
            status="complete" if complete else "open",
            size=record.size,
            part_size=record.part_size,
            expires_at=record.expires_at,
            parts=parts,
            complete_url=f"{url}/complete",
            abort_url=url,
        )


def _upload_id(owner: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return secrets.token_hex(16)
    return scoped_key("upload", owner, idempotency_key)[:32]


def _arrived(storage: Storage, record: UploadRecord) -> dict[int, tuple[int, str]]:
    """Size and ETag of the parts that S3 has; blocking."""
    with translated(f"listing the parts of the upload {record.upload_id}"):
        try:
            parts = list(list_parts(storage, record.key, record.s3_upload_id))
        except ClientError as error:
            if error_code(error) == "NoSuchUpload":
                raise not_found("upload") from None
            raise
    return {part["PartNumber"]: (part["Size"], part["ETag"]) for part in parts}


def _missing(storage: Storage, record: UploadRecord) -> list[UploadPart]:
    """The parts that S3 does not have, with links; blocking."""
    client = client_of(storage)
    left = (record.expires_at - datetime.now(UTC)).total_seconds()
    if left <= 0:
        raise ProblemError(
            410,
            "upload_expired",
            "The upload has expired and its parts are removed. Begin a new one.",
        )
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
    """Complete the multipart upload; blocking."""
    arrived = _arrived(storage, record)
    wrong = [n for n, size in record.parts() if arrived.get(n, (0, ""))[0] != size]
    if wrong:
        shown = ", ".join(map(str, wrong[:10]))
        raise ProblemError(
            409,
            "upload_incomplete",
            f"{len(wrong)} parts are missing or have another size: {shown}. The others are kept; "
            "send these, then complete again.",
        )
    with translated(f"completing the upload {record.upload_id}"):
        client_of(storage).complete_multipart_upload(
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
