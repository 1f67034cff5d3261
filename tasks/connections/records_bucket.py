"""The place of the jobs' records, on the S3 client that serves all jobs of the process."""

from __future__ import annotations

from uuid import UUID

from prefect.filesystems import WritableFileSystem
from pydantic import PrivateAttr

from pro_video.s3.storage import Storage


class RecordMissing(ValueError):
    """No object is in the place of a record."""


class RecordsBucket(WritableFileSystem):
    """Stands in for the ``S3 Bucket`` block of the records, whose id it has.

    Prefect would read that block anew for each flow run, and make a client for it. Whoever reads a
    record later finds the same object through the block.
    """

    _storage: Storage = PrivateAttr()
    _folder: str = PrivateAttr()

    @classmethod
    def of(cls, storage: Storage, folder: str, block_id: UUID | None) -> RecordsBucket:
        """The records in a folder of a bucket, or in all of it, as the block names it."""
        bucket = cls()
        bucket._storage, bucket._folder, bucket._block_document_id = storage, folder, block_id
        return bucket

    async def read_path(self, path: str) -> bytes:
        """A record.

        Raises:
            RecordMissing: there is none.
            ProVideoError: the bucket cannot be read.
        """
        content = await self._storage.get_bytes(self._key(path))
        if content is None:
            raise RecordMissing(f"There is no record {path}")
        return content

    async def write_path(self, path: str, content: bytes) -> None:
        """Write a record, in place of an earlier one.

        Raises:
            ProVideoError: the bucket cannot be written.
        """
        await self._storage.put_bytes(self._key(path), content)

    def _key(self, path: str) -> str:
        folder = f"{self._folder.rstrip('/')}/" if self._folder else ""
        return path if path.startswith(folder) else f"{folder}{path}"
