"""The client for programs without an event loop: the same calls, blocking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from pro_video.client.async_client import AsyncClient, FileProgress, Kind
from pro_video.client.models import Estimate, Job, JobCreated, JobEvent, JobPage, Status, Upload
from pro_video.client.requests import JobRequest
from pro_video.client.transport import Transport

T = TypeVar("T")


class Client:
    """A client of one gateway, to be used in ``with``, by one thread without a running event loop.

    Each call is that of :class:`AsyncClient`, whose docstrings name the errors. Ctrl-C ends a call
    with ``KeyboardInterrupt`` after its connections are closed.

    Args:
        api: address of the API, such as ``http://127.0.0.1:4204``.
        token: of its owner; None where the API needs none.
        transport: made of both by default.
    """

    def __init__(
        self, api: str, token: str | None = None, *, transport: Transport | None = None
    ) -> None:
        self._client = AsyncClient(api, token, transport=transport)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._run(self._client.close())
        self._runner.close()

    def upload(self, path: Path, progress: Callable[[int, int], None] | None = None) -> Upload:
        """:meth:`AsyncClient.upload`."""
        return self._run(self._client.upload(path, progress))

    def upload_files(self, request: JobRequest, progress: FileProgress | None = None) -> JobRequest:
        """:meth:`AsyncClient.upload_files`."""
        return self._run(self._client.upload_files(request, progress))

    def estimate(self, request: JobRequest) -> Estimate:
        """:meth:`AsyncClient.estimate`."""
        return self._run(self._client.estimate(request))

    def create(self, request: JobRequest, *, key: str | None = None) -> JobCreated:
        """:meth:`AsyncClient.create`."""
        return self._run(self._client.create(request, key=key))

    def get(self, job_id: str) -> Job:
        """:meth:`AsyncClient.get`."""
        return self._run(self._client.get(job_id))

    def list(
        self, *, status: Status | None = None, limit: int = 20, cursor: str | None = None
    ) -> JobPage:
        """:meth:`AsyncClient.list`."""
        return self._run(self._client.list(status=status, limit=limit, cursor=cursor))

    def watch(self, job_id: str) -> Iterator[JobEvent]:
        """:meth:`AsyncClient.watch`."""
        events = cast(AsyncGenerator[JobEvent], self._client.watch(job_id))

        async def following() -> JobEvent | None:
            return await anext(events, None)

        try:
            while (event := self._run(following())) is not None:
                yield event
        finally:
            self._run(events.aclose())

    def wait(self, job_id: str) -> Job:
        """:meth:`AsyncClient.wait`."""
        return self._run(self._client.wait(job_id))

    def cancel(self, job_id: str) -> Job:
        """:meth:`AsyncClient.cancel`."""
        return self._run(self._client.cancel(job_id))

    def retry(self, job_id: str) -> Job:
        """:meth:`AsyncClient.retry`."""
        return self._run(self._client.retry(job_id))

    def accept(self, job_id: str) -> Job:
        """:meth:`AsyncClient.accept`."""
        return self._run(self._client.accept(job_id))

    def download(
        self,
        job_id: str,
        path: Path,
        *,
        kind: Kind = "output",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """:meth:`AsyncClient.download`."""
        self._run(self._client.download(job_id, path, kind=kind, progress=progress))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)
