"""Result files: the signed link, its redirect, and the storage that serves the bytes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.common.faults import Fault
from sandbox.common.http_faults import CutFile
from sandbox.sync_so.emulator import Emulator

_FILES = {
    "output": ("output.mp4", "video/mp4"),
    "segments": ("segments.mp4", "video/mp4"),
    "speech": ("speech.wav", "audio/wav"),
}
_CHUNK = 1 << 16


def result_routes(emulator: Emulator) -> list[Route]:
    """The link of the API and the address in the storage; a token is the only credential."""

    async def link(request: Request) -> Response:
        id, name = request.path_params["id"], request.query_params.get("file", "output")
        token = request.query_params.get("token", "")
        if not emulator.link_holds(id, name, token):
            return _forbidden()
        if not emulator.switches["result_redirect"]:
            return await serve(request, id, name, token)
        file = _FILES.get(name, ("", ""))[0]
        base = emulator.base_url(request)
        return RedirectResponse(f"{base}/storage/results/{id}/{file}?token={token}", 302)

    async def stored(request: Request) -> Response:
        if "x-api-key" in request.headers:
            emulator.store.counter("storage requests with a key")
        file = request.path_params["file"]
        names = [name for name, entry in _FILES.items() if entry[0] == file]
        token = request.query_params.get("token", "")
        id = request.path_params["id"]
        if not names or not emulator.link_holds(id, names[0], token):
            return _forbidden()
        return await serve(request, id, names[0], token)

    async def serve(request: Request, id: str, name: str, token: str) -> Response:
        file, media_type = _FILES[name]
        path = emulator.folder(id) / file
        record = emulator.generation(id)
        if record is None or record.get("deleted") or not await asyncio.to_thread(path.exists):
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404)
        fault: Fault | None = request.state.fault
        if fault is not None and fault.kind == "expired_link":
            emulator.store.put("revoked", token, {})
            return _forbidden()
        headers = {
            "ETag": await asyncio.to_thread(etag, path),
            "Content-Disposition": _disposition(record["request"].get("outputFileName")),
        }
        if fault is not None and request.method == "GET":
            spoilt = _spoilt(fault, path, media_type, headers)
            if spoilt is not None:
                return spoilt
        return FileResponse(path, media_type=media_type, headers=headers)

    # The storage address draws the faults of a download, so that one is used up by one download.
    return [
        emulator.endpoint(
            "/v2/generations/{id}/result",
            "result",
            link,
            methods=["GET", "HEAD"],
            authenticated=False,
        ),
        emulator.endpoint(
            "/storage/results/{id}/{file}",
            "download",
            stored,
            methods=["GET", "HEAD"],
            authenticated=False,
        ),
    ]


def etag(path: Path) -> str:
    """A strong tag of a file that is never changed after it was put in place."""
    facts = path.stat()
    text = f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _disposition(name: object) -> str:
    return f'attachment; filename="{name or "output"}.mp4"'


def _forbidden() -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    )
    return Response(body, status_code=403, media_type="application/xml")


def _spoilt(fault: Fault, path: Path, media_type: str, headers: dict[str, str]) -> Response | None:
    size = path.stat().st_size
    keep = int(size * min(max(fault.number("keep", 0.5), 0.0), 1.0))
    headers = {**headers, "Content-Type": media_type, "Accept-Ranges": "bytes"}
    if fault.kind == "truncated":
        return CutFile(path, keep, headers)
    if fault.kind == "short_file":
        return StreamingResponse(
            _read(path, keep, 0.0), headers={**headers, "Content-Length": str(keep)}
        )
    if fault.kind == "slow_body":
        pause = fault.number("seconds", 5.0) / max(1, -(-size // _CHUNK))
        return StreamingResponse(
            _read(path, size, pause), headers={**headers, "Content-Length": str(size)}
        )
    return None


async def _read(path: Path, length: int, pause: float) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while length > 0:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, length))
            if not chunk:
                return
            length -= len(chunk)
            yield chunk
            if pause:
                await asyncio.sleep(pause)
