"""Result files: plain unsigned links with HEAD, ranges and ETag, as from the vendor's CDN.

Source: vendor samples (unsigned https links). HEAD and ranges are assumed, see the README.
"""

import re
import time

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sandbox.common.faults import NO_FAULT
from sandbox.common.http_faults import answer
from sandbox.common.stored_files import DamagedFile, storage_error
from sandbox.common.timing import scaled
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.work import works

_NAME = re.compile(r"(\d{9})-\d+-[0-9a-f]{16}\.mp4")


async def serve(emulator: Emulator, request: Request) -> Response:
    """GET or HEAD of one result; 404 when it is unknown, locked, deleted or expired."""
    name = request.path_params["name"]
    matched = _NAME.fullmatch(name)
    work = works.get(emulator, matched[1]) if matched else None
    path = emulator.results / name
    if matched is None or work is None or work["deleted"] or not path.is_file():
        return storage_error(404, "NoSuchKey")
    if work["result"] == name and work["status"] > 1:
        return storage_error(404, "NoSuchKey")
    info = path.stat()
    hours = emulator.switches["result_hours"]
    if hours is not None and time.time() - info.st_mtime > scaled(emulator.switches, hours * 3600):
        return storage_error(404, "NoSuchKey")
    whole = FileResponse(path, stat_result=info)
    if request.headers.get("if-match", "*") not in ("*", whole.headers["etag"]):
        return Response(status_code=412)
    fault = NO_FAULT
    if request.method == "GET":
        facts = {"reference": work["name"], "work": matched[1]}
        fault = emulator.faults.take("download", **facts) or NO_FAULT
    share = fault.number("fraction", 0.5)
    if fault.kind == "expired_link":
        return storage_error(404, "NoSuchKey")
    if fault.kind in ("truncated", "short_file"):
        cut = fault.kind == "truncated"
        return DamagedFile(path, share=share, cut=cut, stat_result=info)

    async def accept() -> Response:
        return whole

    return await answer(request.scope, fault, accept)
