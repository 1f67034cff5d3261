"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import httpx

from pro_video.client.errors import ClientError, NoResult
from pro_video.client.events import follow
from pro_video.client.models import Estimate, Job, JobCreated, JobEvent, JobPage, Status, Upload
from pro_video.client.requests import JobRequest
from pro_video.client.transport import Transport
from pro_video.client.uploads import upload_file

_JOBS: Final = "/api/v1/jobs"
_DOWNLOADS: Final = 5

FileProgress = Callable[[Path, int, int], None]
"""Called with a file, the bytes that have arrived, and all bytes."""
Kind = Literal["output", "fallback", "rejected", "preview"]
"""A file of a job: its result, the lip-sync of a failed text removal, a rejected result, a picture
before and after."""


class AsyncClient:
    """A client of one gateway, to be used in ``async with``.

    Creating requests are repeated under their own idempotency key, so that a lost answer makes no
    second job.

    Args:
        api: address of the API, such as ``http://127.0.0.1:4204``.
        token: of its owner; None where the API needs none.
        transport: made of both by default.

    Raises:
        Problem: from each call, when the API refuses it.
        Unreachable: from each call, when no answer comes.
    """

    def __init__(
        self, api: str, token: str | None = None, *, transport: Transport | None = None
    ) -> None:
        self._transport = transport or Transport(api, token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def upload(
        self, path: Path, progress: Callable[[int, int], None] | None = None
    ) -> Upload:
        """Upload a local file; of one that was uploaded before, only what is missing.

        Raises:
            UploadFailed: its parts do not arrive, or it is changed meanwhile.
            OSError: it cannot be read.
        """
        return await upload_file(self._transport, path, progress)

    async def upload_files(
        self, request: JobRequest, progress: FileProgress | None = None
    ) -> JobRequest:
        """The request with uploads in the place of its local files.

        Raises:
            UploadFailed, OSError: as :meth:`upload`.
        """
        sources: dict[Path, str] = {}
        for path in request.files:

            def show(arrived: int, size: int, path: Path = path) -> None:
                if progress is not None:
                    progress(path, arrived, size)

            sources[path] = (await self.upload(path, show)).source
        return request.with_sources(sources.__getitem__)

    async def estimate(self, request: JobRequest) -> Estimate:
        """Check a request with its files, and compute its price; nothing is begun.

        Raises:
            Refused: with every wrong field.
        """
        request = await self.upload_files(request)
        return Estimate.model_validate_json(
            await self._transport.send("POST", "/api/v1/estimates", json=request.json())
        )

    async def create(self, request: JobRequest, *, key: str | None = None) -> JobCreated:
        """Begin a job, after the upload of its local files.

        Args:
            request: for the job.
            key: the same key and request give the same job; by default one of its own.

        Raises:
            Refused: with every wrong field.
        """
        request = await self.upload_files(request)
        key = key or secrets.token_hex(16)
        return JobCreated.model_validate_json(
            await self._transport.send("POST", _JOBS, json=request.json(), key=key)
        )

    async def get(self, job_id: str) -> Job:
        """A job as it is now.

        Raises:
            NotFound: there is none of this owner.
        """
        return Job.model_validate_json(await self._transport.send("GET", path_of(job_id)))

    async def list(
        self, *, status: Status | None = None, limit: int = 20, cursor: str | None = None
    ) -> JobPage:
        """A page of the owner's jobs, the latest first; ``cursor`` is that of the page before."""
        asked = {"status": status, "limit": limit, "cursor": cursor}
        params = {name: value for name, value in asked.items() if value is not None}
        return JobPage.model_validate_json(await self._transport.send("GET", _JOBS, params=params))

    def watch(self, job_id: str) -> AsyncIterator[JobEvent]:
        """The job as it is, then each change, until it has ended."""
        return follow(self._transport, path_of(job_id))

    async def wait(self, job_id: str) -> Job:
        """Wait for the end of a job, whichever it is."""
        async for _ in self.watch(job_id):
            pass
        return await self.get(job_id)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job. Work that a provider has begun goes on there and is billed.

        Raises:
            Conflict: it has ended.
        """
        return await self._change(job_id, "cancel")

    async def retry(self, job_id: str) -> Job:
        """Do the stage again that failed; finished stages are kept.

        Raises:
            Conflict: it cannot be retried.
        """
        return await self._change(job_id, "retry", again=False)

    async def accept(self, job_id: str) -> Job:
        """Go on with the rejected result as it is.

        Raises:
            Conflict: there is none.
        """
        return await self._change(job_id, "accept")

    async def download(
        self,
        job_id: str,
        path: Path,
        *,
        kind: Kind = "output",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Save a file of a job; it appears under its name when it is whole.

        Args:
            job_id: of the job.
            path: of the file, which is replaced.
            kind: which file.
            progress: called with the bytes that have arrived and all bytes (0: unknown).

        Raises:
            NoResult: the job has no such file.
            ClientError: the storage does not deliver it.
            OSError: it cannot be written.
        """
        partial = path.with_name(f".{path.name}.part")
        try:
            for attempt in range(1, _DOWNLOADS + 1):
                url: str | None = getattr(await self.get(job_id), f"{kind}_url")
                if url is None:
                    raise NoResult(f"The job {job_id} has no {kind}.")
                try:
                    await self._save(url, partial, progress)
                except httpx.HTTPError as error:
                    if attempt == _DOWNLOADS:
                        name = type(error).__name__
                        raise ClientError(f"The storage does not deliver it ({name}).") from None
                    await self._transport.sleep(attempt)
                else:
                    break
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    async def _save(
        self, url: str, partial: Path, progress: Callable[[int, int], None] | None
    ) -> None:
        async with self._transport.link(url) as response:
            size, arrived = int(response.headers.get("Content-Length", 0)), 0
            with await asyncio.to_thread(partial.open, "wb") as file:
                async for data in response.aiter_bytes():
                    file.write(data)
                    arrived += len(data)
                    if progress is not None:
                        progress(arrived, size)

    async def _change(self, job_id: str, action: str, **options: Any) -> Job:
        path = f"{path_of(job_id)}/{action}"
        return Job.model_validate_json(await self._transport.send("POST", path, **options))


def path_of(job_id: str) -> str:
    """The path of a job in the API."""
    return f"{_JOBS}/{quote(job_id, safe='')}"
