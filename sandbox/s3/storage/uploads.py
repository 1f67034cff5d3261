"""Multipart uploads in progress: records of uploads and of their parts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.storage.catalog import AFTER_ALL, Catalog


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload; `with_checksum` says whether its object gets a CRC32."""

    id: str
    bucket: str
    key: str
    initiated: float
    headers: Mapping[str, str]
    with_checksum: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A part; `etag` without quotes, `crc32` in base64 if the upload has a checksum."""

    number: int
    blob: str
    size: int
    etag: str
    modified: float
    crc32: str | None


class Uploads:
    """The uploads of all buckets."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._store = catalog.store

    def create(
        self, bucket: str, key: str, headers: Mapping[str, str], *, with_checksum: bool
    ) -> Upload:
        """Begins an upload; `headers` describe the object to come."""
        self._catalog.require_bucket(bucket)
        now = self._catalog.now()
        upload = Upload(secrets.token_urlsafe(32), bucket, key, now, headers, with_checksum)
        self._store.put(f"uploads/{bucket}", upload.id, asdict(upload))
        return upload

    def require(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The upload, which must belong to this bucket and key."""
        found = self._store.get(f"uploads/{bucket}", upload_id)
        if found is None or found["key"] != key:
            self._catalog.require_bucket(bucket)
            raise S3Error("NoSuchUpload", UploadId=upload_id[:200])
        return Upload(**found)

    def add_part(
        self, upload: Upload, number: int, blob: str, size: int, etag: str, crc32: str | None
    ) -> Part:
        """Stores a part, replacing one of the same number; the upload may be gone by now."""
        part = Part(number, blob, size, etag, self._catalog.now(), crc32)
        self.require(upload.bucket, upload.key, upload.id)
        kind, name = f"parts/{upload.id}", f"{number:05}"
        old = self._store.get(kind, name)
        self._store.put(kind, name, asdict(part))
        if old is not None:
            self._catalog.blobs.discard([old["blob"]])
        return part

    def parts(self, upload: Upload, after: int = 0, limit: int = 10_000) -> list[Part]:
        """The parts with numbers above `after`, in their order."""
        start = f"{after + 1:05}".encode()
        rows = self._store.between(f"parts/{upload.id}", start, AFTER_ALL, limit)
        return [Part(**body) for _, body in rows]

    def abort(self, upload: Upload) -> None:
        """Ends an upload; its bodies go."""
        with self._store.transaction():
            doomed = self._catalog.drop_upload(upload.bucket, upload.id)
        self._catalog.blobs.discard(doomed)

    def listing(self, bucket: str) -> list[Upload]:
        """The uploads of a bucket, by key and then by age as S3 lists them."""
        found = [Upload(**body) for body in self._store.all(f"uploads/{bucket}")]
        return sorted(found, key=lambda each: (each.key.encode(), each.initiated, each.id))
