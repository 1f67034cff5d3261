"""Responses of the emulators' object storage: files that arrive damaged, and its XML errors."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from sandbox.common.http_faults import cut as cut_connection


class DamagedFile(FileResponse):
    """A file that arrives in part, or slowly.

    Args:
        share: the fraction of the body that is sent, from 0 to 1.
        cut: announce the whole body, or the range asked for, and close the connection after the
            share. Otherwise the share is sent as if it were the whole file, also for a range.
        seconds: how long the body takes, in equal pauses.
    """

    def __init__(
        self,
        path: Path,
        *,
        share: float = 1.0,
        cut: bool = False,
        seconds: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(path, **options)
        self._share = min(max(share, 0.0), 1.0)
        self._cut = cut
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left, pause, ended = 0, 0.0, False

        async def damaged(message: Message) -> None:
            nonlocal left, pause, ended
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                left = int(int(headers["content-length"]) * self._share)
                pause = self._seconds / max(1, -(-left // self.chunk_size))
                if not self._cut:
                    headers["content-length"] = str(left)
                await send(message)
            elif not ended:
                body = message["body"][:left]
                left -= len(body)
                ended = left == 0
                more = self._cut or (message["more_body"] and not ended)
                await send({**message, "body": body, "more_body": more})
                await asyncio.sleep(pause)

        if not self._cut:
            # In a range, the file's real length would be announced.
            headers = [each for each in scope["headers"] if each[0] not in (b"range", b"if-range")]
            scope = {**scope, "headers": headers}
        await super().__call__(scope, receive, damaged)
        if self._cut:
            await cut_connection(scope, receive, flush=True)


def storage_error(status: int, code: str) -> Response:
    """An error as object stores write it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return Response(body, status_code=status, media_type="application/xml")
