"""The bucket of the jobs: everything that is read from it, written to it or fetched into it.

All methods are asynchronous; the blocking work runs in bounded threads
(:mod:`pro_video.net.threads`).
Errors are those of :mod:`pro_video.core.errors`; a stop order of the caller raises
:class:`pro_video.core.stopping.Stopped`, and both it and a cancellation leave nothing half written
behind.

A process that is killed may leave an unfinished multipart upload. The next transfer to the same
key aborts it and begins anew; a lifecycle rule of the bucket (``AbortIncompleteMultipartUpload``)
covers keys that are never written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pro_video.core.errors import SourceRefused, StorageRefused
from pro_video.net.gate import Gate
from pro_video.net.interrupt import Interrupt
from pro_video.net.threads import Workers, default_workers
from pro_video.s3.client import client_config, make_client
from pro_video.s3.errors import translated
from pro_video.s3.objects import (
    DEFAULT_TYPE,
    StoredObject,
    find_object,
    head_object,
    parse_s3_uri,
)
from pro_video.s3.proof import prove
from pro_video.s3.ranged_reader import RangedReader
from pro_video.s3.transfers import downloads, fetch
from pro_video.s3.transfers.copy import copy, find_source, read_head
from pro_video.s3.transfers.local_files import FileSource
from pro_video.s3.transfers.multipart import MAX_PARTS, Target
from pro_video.s3.transfers.puts import put_small
from pro_video.s3.transfers.uploads import OnProgress, Placing, upload
from pro_video.s3.transfers.url_sources import Limits, Tuning

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "Gate",
    "Naming",
    "OnProgress",
    "RangedReader",
    "Storage",
    "StoredObject",
    "Tuning",
    "Workers",
    "client_config",
    "make_client",
    "parse_s3_uri",
]

Naming = Callable[[bytes], tuple[str, str]]
"""The key and the media type of a file, by its first bytes (`kinds.HEAD_BYTES` or the whole)."""

LONGEST_LINK = 7 * 24 * 3600
"""Seconds; SigV4 allows no longer life of a presigned link."""
RECORD_BYTES = 4 * 1024 * 1024
"""Limit of an object that is read as a whole: a record, a report or a request to a provider."""

_LARGEST = MAX_PARTS * 64 * 1024 * 1024
_DAY = 24 * 3600.0


class Storage:
    """One bucket.

    Args:
        client: an S3 client made with :func:`client_config`.
        bucket: its name.
        allow_private: may sources of :meth:`fetch` be on private addresses (for a sandbox)?
        max_bytes: largest file taken from anywhere; default 5 GiB.
        gate: replaces the gate for sources; ``allow_private`` is its own then.
        tuning: sizes and patience of transfers.
        workers: threads to use; default are those of the process.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        allow_private: bool = False,
        max_bytes: int = 5 * 1024**3,
        gate: Gate | None = None,
        tuning: Tuning | None = None,
        workers: Workers | None = None,
    ) -> None:
        if not 0 < max_bytes <= _LARGEST:
            raise ValueError(f"max_bytes must be between 1 and {_LARGEST}, or parts grow too large")
        self._client = client
        self.bucket = bucket
        self._max_bytes = max_bytes
        self._gate = gate or Gate(allow_private=allow_private)
        self._tuning = tuning or Tuning()
        self._workers = workers or default_workers()

    def __repr__(self) -> str:
        return f"Storage(bucket={self.bucket!r})"

    def uri(self, key: str) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{key}"

    @property
    def place(self) -> str:
        """The identity of the bucket: its name, and the server's address unless that is AWS,
        where names of buckets are unique."""
        # Without what stands before an @, which may be a key.
        host = urlsplit(self._client.meta.endpoint_url).netloc.rpartition("@")[2]
        aws = re.search(r"\.amazonaws\.com(\.cn)?$", host)
        return f"s3://{self.bucket}" + ("" if aws else f" at {host}")

    async def put_file(
        self,
        path: str | Path,
        key: str | Naming,
        *,
        content_type: str = DEFAULT_TYPE,
        on_progress: OnProgress | None = None,
        deadline: float = _DAY,
    ) -> StoredObject:
        """Store a file of this machine, read once, in parts.

        Args:
            path: a regular file.
            key: where to; a `Naming` decides by the first bytes, also on the media type.
            content_type: media type to store.
            on_progress: called from a thread after each part.
            deadline: seconds from the begin of the transfer.

        Raises:
            SourceRefused: missing, not regular, empty, too large, or written to while it was read.
        """

        def work(interrupt: Interrupt) -> StoredObject:
            source = FileSource(
                Path(path), part_size=self._tuning.part_size, max_bytes=self._max_bytes
            )
            try:
                return upload(
                    self._place(key, content_type),
                    source,
                    workers=self._tuning.workers,
                    interrupt=interrupt,
                    on_progress=on_progress,
                )
            finally:
                source.close()

        return await self._workers.transfer(work, deadline=deadline, what=f"Storing {_shown(key)}")

    async def fetch(
        self,
        url: str,
        key: str | Naming,
        *,
        expected_size: int | None = None,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
        deadline: float = 3600.0,
    ) -> StoredObject:
        """Bring the file behind an http(s) address into the bucket.

        How: :mod:`pro_video.s3.transfers.fetch`.

        Args:
            url: where from; goes through the gate of :mod:`pro_video.net.gate`.
            key: where to; a `Naming` decides by the first bytes, also on the media type.
            expected_size: exact size in bytes, when it is known.
            content_type: media type to store; default is the source's.
            on_progress: called from a thread after each part.
            deadline: seconds from the begin of the transfer.

        Raises:
            SourceRefused: not allowed, too large, empty, or changed while it was read.
            LinkExpired: the link does not work (any more).
            TransferInterrupted: it kept breaking off, or sent other bytes than promised.
            DeadlineExceeded: it took too long.
        """
        work = partial(
            _fetch,
            url,
            self._place(key, content_type or ""),
            self._gate,
            self._tuning,
            Limits(self._max_bytes, expected_size),
            on_progress,
        )
        return await self._workers.transfer(work, deadline=deadline, what=f"Fetching {_shown(key)}")

    async def copy_object(
        self,
        source_uri: str,
        key: str | Naming,
        *,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
        deadline: float = 3600.0,
    ) -> StoredObject:
        """Let S3 copy ``s3://bucket/key`` here; an object that is already at ``key`` is returned
        as it is. A `Naming` decides by the first bytes where to, and on the media type.

        Raises:
            SourceRefused: missing, empty, too large, or changed meanwhile.
        """
        place = parse_s3_uri(source_uri)

        def work(interrupt: Interrupt) -> StoredObject:
            source = find_source(self._client, *place, max_bytes=self._max_bytes)
            if callable(key):
                head = read_head(self._client, place[0], source)
                target = self._target(*key(head))
            else:
                target = self._target(key, content_type or source.content_type)
            return copy(
                place,
                source,
                target,
                tuning=self._tuning,
                interrupt=interrupt,
                on_progress=on_progress,
            )

        return await self._workers.transfer(
            work, deadline=deadline, what=f"Copying to {_shown(key)}"
        )

    async def head(self, key: str) -> StoredObject | None:
        """The metadata of an object; ``None`` when there is none."""
        return await self._workers.call(partial(head_object, self._client, self.bucket, key))

    async def find(self, prefix: str) -> StoredObject | None:
        """The metadata of the first object with this prefix; ``None`` when there is none."""
        return await self._workers.call(partial(find_object, self._client, self.bucket, prefix))

    async def presign(self, key: str, seconds: float) -> str:
        """A link that lets anyone GET the object for ``seconds``. It is a secret: keep it out of
        logs.

        With temporary credentials it expires with them, even before ``seconds``.

        Raises:
            StorageRefused: longer than seven days, which SigV4 does not allow, or no time at all.
        """
        if not 1 <= seconds <= LONGEST_LINK:
            raise StorageRefused(
                f"A link cannot live for {seconds:g} s: S3 allows 1 s to 7 days ({LONGEST_LINK} s)."
                " Change the lifetime in the settings.",
                code="link_lifetime",
            )

        def work() -> str:
            with translated(f"making a link to {key}"):
                return self._client.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": self.bucket, "Key": key},
                    ExpiresIn=int(seconds),
                )

        return await self._workers.call(work)

    async def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = DEFAULT_TYPE,
        if_absent: bool = False,
    ) -> bool:
        """Store a small object. ``False`` when ``if_absent`` is set and the key was taken.

        Of several writers with ``if_absent``, exactly one gets ``True``, provided that their data
        differ.
        """
        target = self._target(key, content_type)
        return await self._workers.call(
            partial(put_small, target, data, if_absent=if_absent, backoff=self._tuning.backoff)
        )

    async def get_bytes(self, key: str, limit: int = RECORD_BYTES) -> bytes | None:
        """A small object; ``None`` when there is none.

        Raises:
            SourceRefused: it has more than ``limit`` bytes.
        """
        return await self._workers.call(
            partial(downloads.read_small, self._client, self.bucket, key, limit)
        )

    async def prove(self, key: str) -> None:
        """Try out whether the bucket does what jobs rely on; see :mod:`pro_video.s3.proof`.

        Args:
            key: one that nobody uses; nothing stays under it.

        Raises:
            StorageRefused: naming all that it lacks.
        """
        await self._workers.call(partial(prove, self._target(key, DEFAULT_TYPE), self.place))

    async def delete(self, key: str) -> None:
        """Remove an object; one that does not exist is fine."""

        def work() -> None:
            with translated(f"removing {key}"):
                self._client.delete_object(Bucket=self.bucket, Key=key)

        await self._workers.call(work)

    async def reader(self, key: str, *, byte_budget: int = 64 * 1024**2) -> RangedReader:
        """A seekable, blocking file object over the object, pinned to its present ETag.

        Use it in a thread. ``byte_budget`` bounds the bytes it may request in all.

        Raises:
            SourceRefused: there is no such object.
        """
        obj = await self._existing(key)
        return RangedReader(self._client, self.bucket, obj, byte_budget=byte_budget)

    async def source_reader(
        self, source_uri: str, *, byte_budget: int = 64 * 1024**2
    ) -> RangedReader:
        """The same over ``s3://bucket/key`` of any bucket that the credentials may read.

        Raises:
            SourceRefused: missing, empty or too large.
        """
        bucket, key = parse_s3_uri(source_uri)
        find = partial(find_source, self._client, bucket, key, max_bytes=self._max_bytes)
        found = await self._workers.call(find)
        return RangedReader(self._client, bucket, found, byte_budget=byte_budget)

    async def download(self, key: str, path: str | Path, *, deadline: float = _DAY) -> None:
        """Write the object to a file, which appears only when it is whole and its checksum is
        right.

        Raises:
            SourceRefused: there is no such object, or the file cannot be written.
        """
        obj = await self._existing(key)

        def work(interrupt: Interrupt) -> None:
            downloads.download(
                self._client,
                self.bucket,
                obj,
                Path(path),
                backoff=self._tuning.backoff,
                interrupt=interrupt,
            )

        await self._workers.transfer(work, deadline=deadline, what=f"Reading {key}")

    async def _existing(self, key: str) -> StoredObject:
        obj = await self.head(key)
        if obj is None:
            raise SourceRefused(f"There is no object {self.uri(key)}.", code="not_found")
        return obj

    def _place(self, key: str | Naming, content_type: str) -> Target | Placing:
        if callable(key):
            return lambda head: self._target(*key(head))
        return self._target(key, content_type)

    def _target(self, key: str, content_type: str) -> Target:
        return Target(self._client, self.bucket, key, content_type)


def _shown(key: str | Naming) -> str:
    return "a file" if callable(key) else key


def _fetch(
    url: str,
    target: Target | Placing,
    gate: Gate,
    tuning: Tuning,
    limits: Limits,
    on_progress: OnProgress | None,
    interrupt: Interrupt,
) -> StoredObject:
    return fetch.fetch(
        url,
        target,
        gate=gate,
        limits=limits,
        tuning=tuning,
        interrupt=interrupt,
        content_type=None if callable(target) else target.content_type or None,
        on_progress=on_progress,
    )
