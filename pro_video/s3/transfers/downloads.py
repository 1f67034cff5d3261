"""From an object into a file."""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pro_video.core.errors import SourceRefused, StorageUnavailable, TransferInterrupted
from pro_video.core.retrying import Backoff
from pro_video.net.interrupt import Interrupt
from pro_video.s3.errors import STORAGE_ERRORS, storage_error
from pro_video.s3.objects import StoredObject
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.transfer import Retries

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1024 * 1024


class Download:
    """One download of an object, resumed where a connection broke.

    Args:
        client, bucket, obj: what to read, pinned to the object's ETag.
        backoff: pauses and number of tries after failures without progress.
        interrupt: ends it on cancellation, stop or deadline.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        obj: StoredObject,
        backoff: Backoff,
        interrupt: Interrupt,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._object = obj
        self._interrupt = interrupt
        self._retries = Retries(backoff, interrupt)
        self._done = self._checksum = 0

    def write(self, path: Path) -> None:
        """Write the object to ``path``, which appears only when it is whole.

        Raises:
            SourceRefused: the object changed or is gone, or the path cannot be written.
            TransferInterrupted: the bytes do not match S3's checksum.
            StorageUnavailable, StorageRefused: S3.
            DeadlineExceeded, Interrupted: told to end.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as out:
                self._read_into(out.fileno())
            known = self._object.checksum_crc32
            if known is not None and "-" not in known and known != crc.encode(self._checksum):
                raise TransferInterrupted(
                    f"The bytes received of {self._object.key} do not match its checksum. "
                    "Try again.",
                    code="checksum",
                )
            partial.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from None
        finally:
            partial.unlink(missing_ok=True)

    def _read_into(self, descriptor: int) -> None:
        while self._done < self._object.size:
            self._interrupt.check()
            try:
                self._read_rest(descriptor)
            except STORAGE_ERRORS as error:
                meaning = storage_error(error, f"reading {self._object.key}")
                if not isinstance(meaning, StorageUnavailable):
                    raise meaning from None
                self._retries.failed(meaning)

    def _read_rest(self, descriptor: int) -> None:
        size = self._object.size
        response = self._client.get_object(
            Bucket=self._bucket,
            Key=self._object.key,
            IfMatch=self._object.etag,
            Range=f"bytes={self._done}-{size - 1}",
        )
        with response["Body"] as body:
            if response["ContentLength"] != size - self._done:
                # The whole object in place of its rest must not be appended to its beginning.
                raise TransferInterrupted(
                    f"S3 ignored the range asked for of {self._object.key}. Try again.",
                    code="no_range",
                )
            while data := body.read(_CHUNK):
                self._interrupt.check()
                self._checksum = zlib.crc32(data, self._checksum)
                self._done += len(data)
                self._retries.progressed()
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]


def _unwritable(path: Path, error: Exception) -> SourceRefused:
    return SourceRefused(
        f"The file {path.name!r} cannot be written ({type(error).__name__}). Check the folder.",
        code="file_unwritable",
    )
