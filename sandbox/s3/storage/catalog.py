"""Buckets and objects: what exists, and how it changes atomically."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.request import Piece
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.storage.database import Database
from sandbox.s3.verification.checksums import Checksum


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's record; `etag` is without quotes."""

    id: int
    bucket: str
    key: str
    size: int
    etag: str
    modified: float
    headers: Mapping[str, str]
    checksum: Checksum | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A body that is a stretch of an object."""

    blob: str
    size: int


@dataclass(frozen=True, slots=True)
class WriteCondition:
    """If-Match and If-None-Match of a write, as S3 knows them."""

    if_match: str | None = None
    if_none_match: bool = False

    def check(self, etag: str | None, key: str) -> None:
        """Raises when an object with `etag` (None: no object) must not be replaced."""
        if self.if_none_match and etag is not None:
            raise S3Error("PreconditionFailed", details={"Condition": "If-None-Match"})
        if self.if_match is not None:
            if etag is None:
                raise S3Error("NoSuchKey", details={"Key": key})
            if self.if_match not in ("*", etag):
                raise S3Error("PreconditionFailed", details={"Condition": "If-Match"})


@dataclass(frozen=True, slots=True)
class Reader:
    """An object that is being read: later writes to its key do not change what this gives."""

    found: StoredObject
    segments: Sequence[Segment]
    blobs: Blobs

    def pieces(self, start: int, count: int) -> list[Piece]:
        """The files that hold `count` bytes of the object from `start`."""
        pieces: list[Piece] = []
        for segment in self.segments:
            if count <= 0:
                break
            if start < segment.size:
                take = min(count, segment.size - start)
                pieces.append(Piece(self.blobs.path(segment.blob), start, take))
                start, count = 0, count - take
            else:
                start -= segment.size
        return pieces


class Catalog:
    """Buckets and objects in the database, with the bodies in `blobs`."""

    def __init__(self, database: Database, blobs: Blobs, now: Callable[[], float]) -> None:
        self.database = database
        self.blobs = blobs
        self.now = now
        self._pins: Counter[int] = Counter()
        self._condemned: dict[int, list[str]] = {}
        self._pin_lock = threading.Lock()

    def create_bucket(self, name: str) -> bool:
        """Creates a bucket; False when it existed."""
        with self.database.transaction():
            if self.database.row("SELECT 1 FROM buckets WHERE name = ?", name):
                return False
            self.database.run("INSERT INTO buckets VALUES (?, ?, NULL, NULL)", name, self.now())
            return True

    def buckets(self) -> list[tuple[str, float]]:
        rows = self.database.rows("SELECT name, created FROM buckets ORDER BY name")
        return [(row["name"], row["created"]) for row in rows]

    def require_bucket(self, name: str) -> None:
        if not self.database.row("SELECT 1 FROM buckets WHERE name = ?", name):
            raise S3Error("NoSuchBucket", details={"BucketName": name})

    def delete_bucket(self, name: str) -> None:
        with self.database.transaction():
            self.require_bucket(name)
            if self.database.row("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", name):
                raise S3Error("BucketNotEmpty", details={"BucketName": name})
            uploads = self.database.rows("SELECT id FROM uploads WHERE bucket = ?", name)
            for row in uploads:
                self.drop_upload(row["id"])
            self.database.run("DELETE FROM buckets WHERE name = ?", name)

    def setting(self, bucket: str, name: str) -> bytes | None:
        """The stored XML of `lifecycle` or `cors`."""
        row = self.database.row("SELECT lifecycle, cors FROM buckets WHERE name = ?", bucket)
        if row is None:
            raise S3Error("NoSuchBucket", details={"BucketName": bucket})
        value: bytes | None = row[name]
        return value

    def set_setting(self, bucket: str, name: str, value: bytes | None) -> None:
        column = {"lifecycle": "lifecycle", "cors": "cors"}[name]
        with self.database.transaction():
            self.require_bucket(bucket)
            self.database.run(f"UPDATE buckets SET {column} = ? WHERE name = ?", value, bucket)

    def find(self, bucket: str, key: str) -> StoredObject | None:
        row = self.database.row(
            "SELECT * FROM objects WHERE bucket = ? AND key = ?", bucket, key.encode()
        )
        return _stored(row) if row else None

    def require(self, bucket: str, key: str) -> StoredObject:
        """The object, or the S3 error that says what is missing."""
        found = self.find(bucket, key)
        if found is None:
            self.require_bucket(bucket)
            raise S3Error("NoSuchKey", details={"Key": key})
        return found

    def pin(self, bucket: str, key: str) -> Reader:
        """The object as it is now; its bytes stay on disk until `unpin`, in any case."""
        with self.database.transaction():
            found = self.require(bucket, key)
            segments = self._segments(found)
            with self._pin_lock:
                self._pins[found.id] += 1
        return Reader(found, segments, self.blobs)

    def unpin(self, reader: Reader) -> None:
        found = reader.found
        with self._pin_lock:
            self._pins[found.id] -= 1
            doomed: list[str] = []
            if self._pins[found.id] == 0:
                del self._pins[found.id]
                doomed = self._condemned.pop(found.id, [])
        self.blobs.remove(doomed)

    @contextmanager
    def pinned(self, bucket: str, key: str) -> Iterator[Reader]:
        reader = self.pin(bucket, key)
        try:
            yield reader
        finally:
            self.unpin(reader)

    def _segments(self, found: StoredObject) -> list[Segment]:
        rows = self.database.rows(
            "SELECT blob, size FROM segments WHERE object = ? ORDER BY number", found.id
        )
        return [Segment(row["blob"], row["size"]) for row in rows]

    def put(
        self,
        bucket: str,
        key: str,
        segments: Sequence[Segment],
        *,
        etag: str,
        headers: Mapping[str, str],
        checksum: Checksum | None,
        condition: WriteCondition,
        upload: str | None = None,
    ) -> StoredObject:
        """Makes an object of whole bodies, replacing an older one; ends `upload` with it."""
        with self.database.transaction():
            self.require_bucket(bucket)
            old = self.find(bucket, key)
            condition.check(old.etag if old else None, key)
            if old:
                self._drop(old)
            if upload is not None:
                self.drop_upload(upload, keep={segment.blob for segment in segments})
            size = sum(segment.size for segment in segments)
            modified = self.now()
            number = self.database.run(
                "INSERT INTO objects (bucket, key, size, etag, modified, headers, "
                "algorithm, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                bucket,
                key.encode(),
                size,
                etag,
                modified,
                json.dumps(dict(headers)),
                checksum.algorithm if checksum else None,
                checksum.value if checksum else None,
            )
            for index, segment in enumerate(segments):
                self.database.run(
                    "INSERT INTO segments VALUES (?, ?, ?, ?)",
                    number,
                    index,
                    segment.blob,
                    segment.size,
                )
        return StoredObject(
            number,
            bucket,
            key,
            size,
            etag,
            modified,
            headers,
            checksum,
        )

    def delete(self, bucket: str, key: str, condition: WriteCondition) -> None:
        """Deletes an object; like S3 it does not mind when there is none."""
        with self.database.transaction():
            self.require_bucket(bucket)
            old = self.find(bucket, key)
            condition.check(old.etag if old else None, key)
            if old:
                self._drop(old)

    def drop_upload(self, upload: str, keep: Container[str] = ()) -> None:
        """Removes an upload's rows and, but for `keep`, its bodies; only in a transaction."""
        rows = self.database.rows("SELECT blob FROM parts WHERE upload = ?", upload)
        self.database.run("DELETE FROM parts WHERE upload = ?", upload)
        self.database.run("DELETE FROM uploads WHERE id = ?", upload)
        self._remove_later([row["blob"] for row in rows if row["blob"] not in keep])

    def _remove_later(self, blobs: list[str]) -> None:
        self.database.on_commit(lambda: self.blobs.remove(blobs))

    def _drop(self, old: StoredObject) -> None:
        """Removes the rows of an object, and its bodies as soon as they are not read."""
        blobs = [segment.blob for segment in self._segments(old)]
        self.database.run("DELETE FROM segments WHERE object = ?", old.id)
        self.database.run("DELETE FROM objects WHERE id = ?", old.id)
        self.database.on_commit(lambda: self._condemn(old.id, blobs))

    def _condemn(self, number: int, blobs: list[str]) -> None:
        with self._pin_lock:
            if number in self._pins:
                self._condemned[number] = blobs
                return
        self.blobs.remove(blobs)

    def wanted(self) -> set[str]:
        """The names of all bodies that belong to an object or a part."""
        rows = self.database.rows("SELECT blob FROM segments UNION ALL SELECT blob FROM parts")
        return {row["blob"] for row in rows}


def _stored(row: sqlite3.Row) -> StoredObject:
    checksum = None
    if row["algorithm"] is not None:
        checksum = Checksum(row["algorithm"], row["checksum"])
    return StoredObject(
        row["id"],
        row["bucket"],
        row["key"].decode(),
        row["size"],
        row["etag"],
        row["modified"],
        json.loads(row["headers"]),
        checksum,
    )
