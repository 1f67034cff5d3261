"""The bucket of the jobs: everything that is read from it, written to it or fetched into it.

All methods are asynchronous; the blocking work runs in bounded threads
(:mod:`pro_video.net.threads`). Errors are those of :mod:`pro_video.core.errors`. A stop order
raises :class:`pro_video.core.stopping.Stopped`. A stop and a cancellation leave no partial object.

A killed process may leave an unfinished multipart upload. The next transfer to the same key aborts
it; a lifecycle rule of the bucket (``AbortIncompleteMultipartUpload``) covers all other keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pro_video.core.errors import SourceRefused, StorageRefused
from pro_video.core.stopping import current_stop
from pro_video.net.gate import Gate
from pro_video.net.interrupt import Interrupt
from pro_video.net.threads import Workers, default_workers
from pro_video.s3.client import client_config, make_client
from pro_video.s3.errors import translated
from pro_video.s3.listing import MOST_DELETES, Listed, delete_objects, list_objects
from pro_video.s3.objects import (
    DEFAULT_TYPE,
    StoredObject,
    Target,
    find_object,
    head_object,
    parse_s3_uri,
)
from pro_video.s3.proof import prove
from pro_video.s3.ranged_reader import RangedReader
from pro_video.s3.transfers.copy import copy, find_source
from pro_video.s3.transfers.downloads import Download
from pro_video.s3.transfers.fetch import fetch
from pro_video.s3.transfers.local_files import FileSource
from pro_video.s3.transfers.multipart import MAX_PARTS
from pro_video.s3.transfers.small_objects import put_small, read_small
from pro_video.s3.transfers.transfer import OnProgress, Placing, Transfer, Tuning
from pro_video.s3.transfers.uploads import upload

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
"""The key and the media type of a file, by its first bytes (`file_types.HEAD_BYTES`, or all of a
smaller file)."""

LONGEST_LINK = 7 * 24 * 3600
"""Seconds: SigV4's limit for the life of a presigned link."""
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
        gate: replaces the gate for sources, and ``allow_private`` with it.
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
        where bucket names are unique."""
        # The part before an @ may be a key.
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
            key: the target; a `Naming` chooses it and the media type by the first bytes.
            content_type: media type to store.
            on_progress: called from a thread after each part.
            deadline: seconds from the begin of the transfer.

        Raises:
            SourceRefused: missing, not regular, empty, too large, or written to while it was read.
        """

        def put(transfer: Transfer) -> StoredObject:
            source = FileSource(transfer, Path(path))
            try:
                return upload(transfer, source)
            finally:
                source.close()

        target = self._placed(key, content_type)
        return await self._transfer(put, target, "Storing", deadline, on_progress)

    async def fetch(
        self,
        url: str,
        key: str | Naming,
        *,
        expected_size: int | None = None,
        content_type: str = "",
        on_progress: OnProgress | None = None,
        deadline: float = 3600.0,
    ) -> StoredObject:
        """Store the file behind an http(s) address; see :mod:`pro_video.s3.transfers.fetch`.

        Args:
            url: the source, checked by :mod:`pro_video.net.gate`.
            key: the target; a `Naming` chooses it and the media type by the first bytes.
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

        def get(transfer: Transfer) -> StoredObject:
            return fetch(replace(transfer, expected_size=expected_size), self._gate, url)

        target = self._placed(key, content_type)
        return await self._transfer(get, target, "Fetching", deadline, on_progress)

    async def copy_object(
        self,
        source_uri: str,
        key: str | Naming,
        *,
        content_type: str = "",
        on_progress: OnProgress | None = None,
        deadline: float = 3600.0,
    ) -> StoredObject:
        """Let S3 copy ``s3://bucket/key`` here; an object that is its own target is returned as
        it is. Arguments are those of :meth:`fetch`.

        Raises:
            SourceRefused: missing, empty, too large, or changed meanwhile.
        """
        bucket, source_key = parse_s3_uri(source_uri)

        def copied(transfer: Transfer) -> StoredObject:
            return copy(transfer, self._client, bucket, source_key)

        target = self._placed(key, content_type)
        return await self._transfer(copied, target, "Copying to", deadline, on_progress)

    async def head(self, key: str) -> StoredObject | None:
        """The metadata of an object; ``None`` when there is none."""
        return await self._workers.call(partial(head_object, self._client, self.bucket, key))

    async def find(self, prefix: str) -> StoredObject | None:
        """The metadata of the first object with this prefix; ``None`` when there is none."""
        return await self._workers.call(partial(find_object, self._client, self.bucket, prefix))

    async def presign(self, key: str, seconds: float) -> str:
        """A link with which anyone can GET the object for ``seconds``. It is a secret: keep it
        out of logs. With temporary credentials it expires with them at the latest.

        Raises:
            StorageRefused: less than a second, or more than SigV4's seven days.
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
                    "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=int(seconds)
                )

        return await self._workers.call(work)

    async def put_bytes(
        self, key: str, data: bytes, *, content_type: str = DEFAULT_TYPE, if_absent: bool = False
    ) -> bool:
        """Store a small object. ``False`` when ``if_absent`` is set and the key was taken.

        Of several writers with ``if_absent``, exactly one gets ``True``, provided that their data
        differ.
        """
        target = self.target(key, content_type)
        return await self._workers.call(
            partial(put_small, target, data, if_absent=if_absent, backoff=self._tuning.backoff)
        )

    async def get_bytes(self, key: str, limit: int = RECORD_BYTES) -> bytes | None:
        """A small object; ``None`` when there is none.

        Raises:
            SourceRefused: it has more than ``limit`` bytes.
        """
        return await self._workers.call(partial(read_small, self._client, self.bucket, key, limit))

    async def prove(self, key: str) -> None:
        """Test the properties of the bucket that jobs rely on; see :mod:`pro_video.s3.proof`.

        Args:
            key: an unused one; no object stays under it.

        Raises:
            StorageRefused: names every missing property.
        """
        await self._workers.call(partial(prove, self.target(key, DEFAULT_TYPE), self.place))

    async def delete(self, key: str) -> None:
        """Remove an object; one that does not exist is fine."""

        def work() -> None:
            with translated(f"removing {key}"):
                self._client.delete_object(Bucket=self.bucket, Key=key)

        await self._workers.call(work)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects in batches; those that do not exist are fine. A stop order and a
        cancellation end it between two batches.

        Raises:
            StorageRefused: the policy (``s3:DeleteObject``) or a lock of the object forbids it.
        """
        for start in range(0, len(keys), MOST_DELETES):
            current_stop().raise_if_set()
            batch = keys[start : start + MOST_DELETES]
            await self._workers.call(partial(delete_objects, self._client, self.bucket, batch))

    def listed(self, prefix: str) -> Iterator[Listed]:
        """All objects below a prefix; blocking, page by page."""
        return list_objects(self._client, self.bucket, prefix)

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
        """A reader of ``s3://bucket/key`` in any bucket that the credentials may read.

        Raises:
            SourceRefused: missing, empty or too large.
        """
        bucket, key = parse_s3_uri(source_uri)
        find = partial(find_source, self._client, bucket, key, max_bytes=self._max_bytes)
        found = await self._workers.call(find)
        return RangedReader(self._client, bucket, found, byte_budget=byte_budget)

    async def download(self, key: str, path: str | Path, *, deadline: float = _DAY) -> None:
        """Write the object to a file, which appears only when it is whole and its checksum
        matches.

        Raises:
            SourceRefused: there is no such object, or the file cannot be written.
        """
        obj = await self._existing(key)

        def read(interrupt: Interrupt) -> None:
            reading = Download(self._client, self.bucket, obj, self._tuning.backoff, interrupt)
            reading.write(Path(path))

        await self._workers.transfer(read, deadline=deadline, what=f"Reading {key}")

    def target(self, key: str, content_type: str) -> Target:
        """An object of this bucket to write."""
        return Target(self._client, self.bucket, key, content_type)

    async def _existing(self, key: str) -> StoredObject:
        obj = await self.head(key)
        if obj is None:
            raise SourceRefused(f"There is no object {self.uri(key)}.", code="not_found")
        return obj

    def _placed(self, key: str | Naming, content_type: str) -> Target | Placing:
        if callable(key):
            return lambda head: self.target(*key(head))
        return self.target(key, content_type)

    async def _transfer(
        self,
        work: Callable[[Transfer], StoredObject],
        target: Target | Placing,
        doing: str,
        deadline: float,
        on_progress: OnProgress | None,
    ) -> StoredObject:
        def run(interrupt: Interrupt) -> StoredObject:
            transfer = Transfer(target, interrupt, self._tuning, self._max_bytes)
            return work(transfer if on_progress is None else replace(transfer, report=on_progress))

        shown = "a file" if callable(target) else target.key
        return await self._workers.transfer(run, deadline=deadline, what=f"{doing} {shown}")
