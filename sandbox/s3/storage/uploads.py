"""Multipart uploads in progress: records of uploads and of their parts."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.storage.database import Database


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
    """A part; `etag` without quotes, `digest` is its CRC32 if the upload has a checksum."""

    number: int
    blob: str
    size: int
    etag: str
    modified: float
    digest: bytes | None


class Uploads:
    """The uploads of all buckets."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._database: Database = catalog.database
        self._blobs: Blobs = catalog.blobs
        self._now: Callable[[], float] = catalog.now

    def create(
        self, bucket: str, key: str, headers: Mapping[str, str], *, with_checksum: bool
    ) -> Upload:
        upload = Upload(secrets.token_urlsafe(32), bucket, key, self._now(), headers, with_checksum)
        with self._database.transaction():
            self._catalog.require_bucket(bucket)
            self._database.run(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?)",
                upload.id,
                bucket,
                key.encode(),
                upload.initiated,
                json.dumps(dict(headers)),
                with_checksum,
            )
        return upload

    def require(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The upload, which must belong to this bucket and key."""
        row = self._database.row("SELECT * FROM uploads WHERE id = ?", upload_id)
        if row is None or row["bucket"] != bucket or row["key"] != key.encode():
            self._catalog.require_bucket(bucket)
            raise S3Error("NoSuchUpload", details={"UploadId": upload_id[:200]})
        return _upload(row)

    def add_part(
        self, upload: Upload, number: int, blob: str, size: int, etag: str, digest: bytes | None
    ) -> Part:
        """Stores a part, replacing one of the same number; the upload may be gone by now."""
        part = Part(number, blob, size, etag, self._now(), digest)
        with self._database.transaction():
            self.require(upload.bucket, upload.key, upload.id)
            old = self._database.row(
                "SELECT blob FROM parts WHERE upload = ? AND number = ?", upload.id, number
            )
            self._database.run(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                upload.id,
                number,
                blob,
                size,
                etag,
                part.modified,
                digest,
            )
            if old is not None:
                self._database.on_commit(lambda: self._blobs.remove([old["blob"]]))
        return part

    def parts(self, upload: Upload, after: int = 0, limit: int = 10_000) -> list[Part]:
        rows = self._database.rows(
            "SELECT * FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
            upload.id,
            after,
            limit,
        )
        return [
            Part(
                row["number"],
                row["blob"],
                row["size"],
                row["etag"],
                row["modified"],
                row["digest"],
            )
            for row in rows
        ]

    def abort(self, upload: Upload) -> None:
        with self._database.transaction():
            self.require(upload.bucket, upload.key, upload.id)
            self._catalog.drop_upload(upload.id)

    def listing(self, bucket: str | None = None) -> list[Upload]:
        """The uploads of one bucket or of all, by key and then by age as S3 lists them."""
        rows = self._database.rows(
            "SELECT * FROM uploads WHERE bucket = coalesce(?, bucket) "
            "ORDER BY bucket, key, initiated, id",
            bucket,
        )
        return [_upload(row) for row in rows]


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(
        row["id"],
        row["bucket"],
        row["key"].decode(),
        row["initiated"],
        json.loads(row["headers"]),
        bool(row["with_checksum"]),
    )
