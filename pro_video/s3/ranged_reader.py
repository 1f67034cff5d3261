"""A seekable file object over ranged GETs of one object, within a budget of bytes."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO

from pro_video.core.errors import (
    MediaUnusable,
    SourceRefused,
    StorageUnavailable,
    TransferInterrupted,
)
from pro_video.s3.errors import STORAGE_ERRORS, storage_error
from pro_video.s3.objects import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from typing_extensions import Buffer

    # Type checkers know raw streams as IOBase only; io.BytesIO is declared in the same way.
    class _Stream(io.RawIOBase, BinaryIO):
        pass
else:
    _Stream = io.RawIOBase

_TRIES = 3
_READ_AHEAD = 8


class RangedReader(_Stream):
    """Seekable and read-only; each request is pinned to the ETag seen at opening.

    A miss reads one block; misses in sequence double the request up to eight blocks, because the
    number of requests decides over a network. Not for two threads at once.

    Args:
        client, bucket, obj: what to read.
        byte_budget: bytes that may be requested in all, which bounds files whose index makes a
            reader jump without end.
        block: bytes per block.
        blocks: blocks kept in memory.

    Attributes:
        size: bytes of the whole object.
        requests: GETs sent.
        bytes_read: bytes received.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        obj: StoredObject,
        *,
        byte_budget: int,
        block: int = 256 * 1024,
        blocks: int = 32,
    ) -> None:
        super().__init__()
        self._client = client
        self._bucket = bucket
        self._object = obj
        self.size = obj.size
        self.requests = 0
        self.bytes_read = 0
        self._budget = byte_budget
        self._block = block
        self._keep = max(blocks, _READ_AHEAD)
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        self._ahead = 1
        self._expected_miss = -1

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; positions after the end read as empty."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("no such position in the object")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Exactly ``size`` bytes unless the object ends before.

        Raises:
            MediaUnusable: the budget is used up.
            SourceRefused: the object changed or is gone.
            StorageUnavailable, StorageRefused, TransferInterrupted: S3.
        """
        left = max(0, self.size - self._position)
        data = bytearray(left if size < 0 else min(size, left))
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` as far as the object goes; errors as of :meth:`read`."""
        with memoryview(buffer) as outer, outer.cast("B") as view:
            wanted = min(len(view), max(0, self.size - self._position))
            got = 0
            while got < wanted:
                number, start = divmod(self._position, self._block)
                part = self._get(number)[start : start + wanted - got]
                view[got : got + len(part)] = part
                got += len(part)
                self._position += len(part)
            return got

    def _get(self, number: int) -> bytes:
        block = self._cache.get(number)
        if block is not None:
            self._cache.move_to_end(number)
            return block
        self._ahead = min(self._ahead * 2, _READ_AHEAD) if number == self._expected_miss else 1
        count = 1
        while count < self._ahead and number + count not in self._cache:
            count += 1
        data = self._request(number * self._block, min((number + count) * self._block, self.size))
        self._expected_miss = number + count
        for index in range(count):
            part = data[index * self._block : (index + 1) * self._block]
            if part:
                self._cache[number + index] = part
        while len(self._cache) > self._keep:
            self._cache.popitem(last=False)
        return data[: self._block]

    def _request(self, first: int, end: int) -> bytes:
        if self.bytes_read + end - first > self._budget:
            raise MediaUnusable(
                f"Reading the index of {self._object.key} takes more than {self._budget} bytes."
                " Encode the file again, with its index in one part.",
                code="byte_budget",
            )
        for attempt in range(1, _TRIES + 1):
            try:
                return self._get_range(first, end)
            except (StorageUnavailable, TransferInterrupted):
                if attempt == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    def _get_range(self, first: int, end: int) -> bytes:
        key = self._object.key
        self.requests += 1
        try:
            response = self._client.get_object(
                Bucket=self._bucket,
                Key=key,
                Range=f"bytes={first}-{end - 1}",
                IfMatch=self._object.etag,
            )
            if response["ContentLength"] != end - first:
                # A server that ignores the range would otherwise pour out the whole object.
                response["Body"].close()
                raise SourceRefused(
                    f"S3 ignores ranges for {key}. Use another S3 server.", code="no_range"
                )
            data = response["Body"].read()
        except STORAGE_ERRORS as error:
            raise storage_error(error, f"reading {key}") from None
        self.bytes_read += len(data)
        return data
