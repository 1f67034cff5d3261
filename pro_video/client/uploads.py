"""Uploads of local files in parts. The key of an upload is the file's content, so that the same
file is uploaded once, and an upload that broke off goes on with the parts that are missing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from pro_video.client.errors import Conflict, NotFound, UploadFailed
from pro_video.client.models import Upload, UploadPart
from pro_video.client.transport import Transport

PartsProgress = Callable[[int, int], None]
"""Called with the bytes that have arrived, and all bytes."""

_UPLOADS: Final = "/api/v1/uploads"
_PIECE: Final = 16 * 1024 * 1024
_AT_ONCE: Final = 3
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)


async def upload_file(
    transport: Transport, path: Path, progress: PartsProgress | None = None
) -> Upload:
    """Upload a file, or what is missing of it.

    Args:
        transport: to the API.
        path: of the file.
        progress: called at the begin and after each part.

    Raises:
        UploadFailed: the file changed meanwhile, or its parts do not arrive.
        OSError: the file cannot be read.
        Problem: of the API.
    """
    with path.open("rb") as file:
        return await _Sending(transport, file, path.name, progress).run()


class _Sending:
    def __init__(
        self, transport: Transport, file: BinaryIO, name: str, progress: PartsProgress | None
    ) -> None:
        self._transport = transport
        self._file = file
        self._name = name[-255:]
        self._progress = progress
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._missing = 0

    async def run(self) -> Upload:
        before = self._stamp()
        digest = hashlib.sha256(self._name.encode("utf-8", "surrogateescape"))
        while piece := await asyncio.to_thread(self._file.read, _PIECE):
            await asyncio.to_thread(digest.update, piece)
        upload = await self._begin(digest.hexdigest(), before[0])
        for pause in (*_PAUSES, None):
            if upload.status == "complete":
                break
            self._missing = sum(part.size for part in upload.parts)
            self._show(upload)
            arrived = await asyncio.gather(*(self._put(part, upload) for part in upload.parts))
            if self._stamp() != before:
                raise UploadFailed(f"{self._name} was changed during its upload.")
            if all(arrived):
                with suppress(Conflict):
                    upload = await self._call("POST", upload.complete_url)
                    break
            if pause is None:
                raise UploadFailed(f"The storage does not take all parts of {self._name}.")
            await self._transport.sleep(pause)
            upload = await self._call("GET", upload.abort_url)
        self._missing = 0
        self._show(upload)
        return upload

    async def _begin(self, key: str, size: int) -> Upload:
        body = {"filename": self._name, "size": size}
        try:
            raw = await self._transport.send("POST", _UPLOADS, json=body, key=key)
        except NotFound:
            # The earlier upload of this file has expired.
            key = secrets.token_hex(16)
            raw = await self._transport.send("POST", _UPLOADS, json=body, key=key)
        return Upload.model_validate_json(raw)

    async def _call(self, method: str, url: str) -> Upload:
        return Upload.model_validate_json(await self._transport.send(method, url))

    async def _put(self, part: UploadPart, upload: Upload) -> bool:
        async with self._turns:
            offset = (part.number - 1) * upload.part_size
            data = await asyncio.to_thread(os.pread, self._file.fileno(), part.size, offset)
            arrived = len(data) == part.size and await self._transport.put(part.url, data)
        if arrived:
            self._missing -= part.size
            self._show(upload)
        return arrived

    def _show(self, upload: Upload) -> None:
        if self._progress is not None:
            self._progress(upload.size - self._missing, upload.size)

    def _stamp(self) -> tuple[int, int]:
        """Size and time of the last change."""
        facts = os.fstat(self._file.fileno())
        return facts.st_size, facts.st_mtime_ns
