"""Buckets and objects: what exists, and how it changes atomically.

An object exists exactly when its record is committed, so readers never see a partial one, and a
killed process loses at most what it had not answered yet. Nothing here awaits: on the event loop,
to which the catalog belongs, no other request comes between a look and the write after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.common.store import Store
from sandbox.s3.errors import S3Error
from sandbox.s3.messages.response import Piece
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.verification.checksums import Checksum

AFTER_ALL = b"\xff"
"""Behind every key that begins with what stands before it: UTF-8 has no such byte."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A body that is a stretch of an object."""

    blob: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's record; `etag` is without quotes."""

    bucket: str
    key: str
    etag: str
    modified: float
    headers: Mapping[str, str]
    checksum: Checksum | None
    segments: Sequence[Segment]

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return sum(segment.size for segment in self.segments)

    @property
    def blobs(self) -> list[str]:
        """The names of its bodies."""
        return [segment.blob for segment in self.segments]


@dataclass(frozen=True, slots=True)
class WriteCondition:
    """If-Match and If-None-Match of a write, as S3 knows them."""

    if_match: str | None = None
    if_none_match: bool = False

    def check(self, old: StoredObject | None, key: str) -> None:
        """Raises when `old`, what is under the key now, must not be replaced."""
        if self.if_none_match and old is not None:
            raise S3Error("PreconditionFailed", Condition="If-None-Match")
        if self.if_match is not None:
            if old is None:
                raise S3Error("NoSuchKey", Key=key)
            if self.if_match not in ("*", old.etag):
                raise S3Error("PreconditionFailed", Condition="If-Match")


class Catalog:
    """Buckets and objects as documents of the store, with their bodies in `blobs`."""

    def __init__(self, store: Store, blobs: Blobs, now: Callable[[], float]) -> None:
        self.store = store
        self.blobs = blobs
        self.now = now

    def create_bucket(self, name: str) -> bool:
        """Creates a bucket; False when it existed."""
        if self.store.get("bucket", name):
            return False
        self.store.put("bucket", name, {"created": self.now()})
        return True

    def buckets(self) -> list[tuple[str, float]]:
        """Names and times of creation, by name."""
        return sorted((name, body["created"]) for name, body in self.store.items("bucket"))

    def require_bucket(self, name: str) -> dict[str, Any]:
        """The bucket's document; raises NoSuchBucket."""
        found = self.store.get("bucket", name)
        if found is None:
            raise S3Error("NoSuchBucket", BucketName=name)
        return found

    def delete_bucket(self, name: str) -> None:
        """Deletes an empty bucket, with its unfinished uploads."""
        doomed: list[str] = []
        with self.store.transaction():
            self.require_bucket(name)
            if self.page(name, b"", AFTER_ALL, 1):
                raise S3Error("BucketNotEmpty", BucketName=name)
            for upload, _ in self.store.items(f"uploads/{name}"):
                doomed += self.drop_upload(name, upload)
            self.store.delete("bucket", name)
        self.blobs.discard(doomed)

    def setting(self, bucket: str, name: str) -> bytes | None:
        """The stored XML of `lifecycle` or `cors`."""
        text: str | None = self.require_bucket(bucket).get(name)
        return None if text is None else text.encode()

    def set_setting(self, bucket: str, name: str, value: bytes | None) -> None:
        """Stores the XML of `lifecycle` or `cors`; None removes it."""
        text = None if value is None else value.decode()
        self.store.put("bucket", bucket, {**self.require_bucket(bucket), name: text})

    def page(self, bucket: str, start: bytes, end: bytes, limit: int) -> list[StoredObject]:
        """The objects from the key `start` up to `end`, in the order of the keys' UTF-8."""
        rows = self.store.between(f"objects/{bucket}", start, end, limit)
        return [_stored(bucket, key, body) for key, body in rows]

    def find(self, bucket: str, key: str) -> StoredObject | None:
        """The object, or None."""
        body = self.store.get(f"objects/{bucket}", key)
        return None if body is None else _stored(bucket, key, body)

    def require(self, bucket: str, key: str) -> StoredObject:
        """The object, or the S3 error that says what is missing."""
        found = self.find(bucket, key)
        if found is None:
            self.require_bucket(bucket)
            raise S3Error("NoSuchKey", Key=key)
        return found

    def pieces(self, found: StoredObject, start: int, count: int) -> list[Piece]:
        """The files that hold `count` bytes of an object from `start`."""
        pieces: list[Piece] = []
        for segment in found.segments:
            if count > 0 and start < segment.size:
                take = min(count, segment.size - start)
                pieces.append(Piece(self.blobs.path(segment.blob), start, take))
                count -= take
            start = max(start - segment.size, 0)
        return pieces

    def put(
        self, new: StoredObject, condition: WriteCondition, *, upload: str | None = None
    ) -> None:
        """Makes an object of whole bodies, replacing an older one; ends `upload` with it."""
        doomed: list[str] = []
        with self.store.transaction():
            self.require_bucket(new.bucket)
            old = self.find(new.bucket, new.key)
            condition.check(old, new.key)
            if old is not None:
                doomed += old.blobs
            if upload is not None:
                doomed += self.drop_upload(new.bucket, upload)
            body = asdict(new)
            del body["bucket"], body["key"]
            self.store.put(f"objects/{new.bucket}", new.key, body)
        self.blobs.discard(set(doomed).difference(new.blobs))

    def delete(self, bucket: str, key: str, condition: WriteCondition) -> None:
        """Deletes an object; like S3 it does not mind when there is none."""
        self.require_bucket(bucket)
        old = self.find(bucket, key)
        condition.check(old, key)
        if old is not None:
            self.store.delete(f"objects/{bucket}", key)
            self.blobs.discard(old.blobs)

    def drop_upload(self, bucket: str, upload: str) -> list[str]:
        """Removes an upload's records and returns its bodies; only in a transaction."""
        blobs = [part["blob"] for part in self.store.all(f"parts/{upload}")]
        self.store.clear(f"parts/{upload}")
        self.store.delete(f"uploads/{bucket}", upload)
        return blobs

    def wanted(self) -> set[str]:
        """The names of all bodies that belong to an object or a part."""
        names: set[str] = set()
        for bucket, _ in self.buckets():
            for body in self.store.all(f"objects/{bucket}"):
                names.update(segment["blob"] for segment in body["segments"])
            for upload, _ in self.store.items(f"uploads/{bucket}"):
                names.update(part["blob"] for part in self.store.all(f"parts/{upload}"))
        return names


def _stored(bucket: str, key: str, body: Mapping[str, Any]) -> StoredObject:
    return StoredObject(
        bucket,
        key,
        body["etag"],
        body["modified"],
        body["headers"],
        Checksum(**body["checksum"]) if body["checksum"] else None,
        [Segment(**segment) for segment in body["segments"]],
    )
