"""Result files: the signed link, its redirect, and the storage that serves the bytes."""

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from sandbox.common.faults import NO_FAULT
from sandbox.common.stored_files import DamagedFile, storage_error
from sandbox.sync_so.emulator import Emulator

_FILES = {"output": "output.mp4", "segments": "segments.mp4", "speech": "speech.wav"}
_NAMES = {file: name for name, file in _FILES.items()}


async def link(emulator: Emulator, request: Request) -> Response:
    """The link that the API gives; its token is the only credential."""
    id, name = request.path_params["id"], request.query_params.get("file", "output")
    token = request.query_params.get("token", "")
    if not emulator.link_holds(id, name, token):
        return storage_error(403, "AccessDenied")
    if not emulator.switches["result_redirect"]:
        return await _serve(emulator, request, name)
    base = emulator.base_url(request)
    return RedirectResponse(f"{base}/storage/results/{id}/{_FILES[name]}?token={token}", 302)


async def stored(emulator: Emulator, request: Request) -> Response:
    """The address in the storage to which a link leads."""
    if "x-api-key" in request.headers:
        emulator.store.counter("storage requests with a key")
    name = _NAMES.get(request.path_params["file"], "")
    token = request.query_params.get("token", "")
    if not emulator.link_holds(request.path_params["id"], name, token):
        return storage_error(403, "AccessDenied")
    return await _serve(emulator, request, name)


async def _serve(emulator: Emulator, request: Request, name: str) -> Response:
    record = emulator.generation(request.path_params["id"])
    path = emulator.folder(request.path_params["id"]) / _FILES[name]
    if record is None or record.get("deleted") or not await asyncio.to_thread(path.exists):
        return storage_error(404, "NoSuchKey")
    fault = request.state.fault or NO_FAULT
    if fault.kind == "expired_link":
        emulator.store.put("revoked", request.query_params["token"], {})
        return storage_error(403, "AccessDenied")
    saved_as = (record["request"].get("outputFileName") or "output") + path.suffix
    keep = fault.number("keep", 0.5)
    if request.method == "GET" and fault.kind == "truncated":
        return DamagedFile(path, share=keep, cut=True, filename=saved_as)
    if request.method == "GET" and fault.kind == "short_file":
        return DamagedFile(path, share=keep, filename=saved_as)
    if request.method == "GET" and fault.kind == "slow_body":
        return DamagedFile(path, seconds=fault.number("seconds", 5.0), filename=saved_as)
    return FileResponse(path, filename=saved_as)
