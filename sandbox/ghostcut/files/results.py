"""Result files: plain unsigned links with HEAD, ranges and ETag, as from the vendor's CDN.

Source: vendor samples (unsigned https links); HEAD and Range are inferred, see the README.
"""

import os
import re
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from sandbox.common.faults import Fault, FaultQueue
from sandbox.common.http_faults import answer
from sandbox.common.server import CONNECTION
from sandbox.ghostcut.switches import Switches
from sandbox.ghostcut.work.works import WorkBook

_NAME = re.compile(r"(\d{9})-\d+-[0-9a-f]{16}\.mp4")
_MISSING = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code></Error>'

KINDS = frozenset({"expired_link", "truncated", "short_file"})
"""Faults of a download beside those of the transport; `fraction` (default 0.5) is what comes."""


class Results:
    """Serves `<folder>/<name>` for works that show their result."""

    def __init__(
        self, folder: Path, book: WorkBook, faults: FaultQueue, switches: Switches
    ) -> None:
        self._folder = folder
        self._book = book
        self._faults = faults
        self._switches = switches

    async def serve(self, request: Request) -> Response:
        """GET or HEAD of one result; 404 when it is unknown, locked, deleted or expired."""
        name = request.path_params["name"]
        matched = _NAME.fullmatch(name)
        work = self._book.get(matched[1]) if matched else None
        path = self._folder / name
        if matched is None or work is None or work["deleted"] or not path.is_file():
            return _missing()
        if work["result"] == name and work["status"] > 1:
            return _missing()
        hours = self._switches.result_hours
        age = time.time() - _stat(path).st_mtime
        if hours is not None and age > self._switches.scaled(hours * 3600):
            return _missing()
        fault = None
        if request.method == "GET":
            fault = self._faults.take("download", reference=work["name"], work=matched[1])
        return await self._answer(request, path, fault)

    async def _answer(self, request: Request, path: Path, fault: Fault | None) -> Response:
        info = _stat(path)
        etag = f'"{info.st_mtime_ns:x}-{info.st_size:x}"'
        wanted = request.headers.get("if-match")
        if wanted not in (None, "*", etag):
            return Response(status_code=412)
        headers = {"ETag": etag}
        kind = fault.kind if fault else ""
        share = fault.number("fraction", 0.5) if fault else 1.0
        if kind == "expired_link":
            return _missing()
        if kind == "truncated":
            return CutFile(path, share, headers, info)
        if kind == "short_file":
            return ShortFile(path, int(info.st_size * share), headers)

        async def whole() -> Response:
            return FileResponse(path, media_type="video/mp4", headers=headers, stat_result=info)

        return await answer(request.scope, fault, whole)


class CutFile(FileResponse):
    """Announces the whole file or range, sends a share of it and closes the connection."""

    def __init__(
        self, path: Path, share: float, headers: dict[str, str], info: os.stat_result
    ) -> None:
        super().__init__(path, media_type="video/mp4", headers=headers, stat_result=info)
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = 0

        async def cut(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                left = int(int(headers[b"content-length"]) * self._share)
                await send(message)
            elif left > 0:
                body = message["body"][:left]
                left -= len(body)
                await send({"type": "http.response.body", "body": body, "more_body": True})

        await super().__call__(scope, receive, cut)
        scope["extensions"][CONNECTION].close()
        while (await receive())["type"] != "http.disconnect":
            pass


class ShortFile(Response):
    """A complete answer with status 200 whose file is too short, as a broken CDN copy gives."""

    def __init__(self, path: Path, size: int, headers: dict[str, str]) -> None:
        with path.open("rb") as file:
            content = file.read(size)
        super().__init__(content, media_type="video/mp4", headers=headers)


def _stat(path: Path) -> os.stat_result:
    return path.stat()


def _missing() -> Response:
    return Response(_MISSING, status_code=404, media_type="application/xml")
