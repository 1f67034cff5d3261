"""The media library: announce an upload, register the file, list, rename and remove it."""

import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.sync_so.api.query import page_limit, words
from sandbox.sync_so.api.request_body import read_object
from sandbox.sync_so.emulator import Emulator, iso
from sandbox.sync_so.files import uploads
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.options import is_number
from sandbox.sync_so.rules.request import is_uuid
from sandbox.sync_so.rules.tables import ASSET_MAX
from sandbox.sync_so.work.processing import probe

TYPES = ("VIDEO", "AUDIO", "IMAGE")
_KIND = "asset"
_SORTS = {
    "nameAsc": ("name", False),
    "nameDesc": ("name", True),
    "createdAtAsc": ("createdAt", False),
    "createdAtDesc": ("createdAt", True),
    "kindAsc": ("type", False),
    "kindDesc": ("type", True),
}


async def announce_upload(emulator: Emulator, request: Request) -> Response:
    """An address and a signed address for the PUT of one file."""
    body = await read_object(request)
    name, kind, size = body.get("fileName"), body.get("contentType"), body.get("size")
    if not isinstance(name, str) or not name:
        raise invalid("fileName must be a string", "fileName")
    if not isinstance(kind, str) or "/" not in kind:
        raise invalid("contentType must be a media type", "contentType")
    if not is_number(size) or not isinstance(size, int) or size < 1:
        raise invalid("size must be a number of bytes", "size")
    if size > ASSET_MAX:
        raise ApiError(413, "the file is too large", "file_size_exceeds_plan_limit", field="size")
    upload = uploads.announce(emulator, name, kind, size)
    url = uploads.address(upload, emulator.base_url(request))
    upload_url = f"{url}?signature={upload['signature']}"
    return JSONResponse(
        {"uploadUrl": upload_url, "url": url, "expiresIn": uploads.UPLOAD_SECONDS}, 201
    )


async def register(emulator: Emulator, request: Request) -> Response:
    """Make an asset of an uploaded file."""
    body = await read_object(request)
    url, kind = body.get("url"), body.get("type")
    if not isinstance(url, str):
        raise invalid("url must be a URL address", "url")
    if kind not in TYPES:
        raise invalid(f"type must be one of: {', '.join(TYPES)}", "type")
    upload = uploads.at_address(emulator, url)
    if upload is None:
        raise ApiError(400, "the address is not in your storage", "file_not_in_org_storage")
    path = uploads.local_file(emulator, url)
    if path is None:
        raise ApiError(404, "nothing was uploaded there", "uploaded_file_not_found")
    found = await emulator.pool.run(probe, path)
    seconds = found.video_seconds or found.audio_seconds
    now = iso(time.time())
    asset: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "createdAt": now,
        "updatedAt": now,
        "name": body.get("name") or upload["name"],
        "url": url,
        "size": upload["size"],
        "format": upload["name"].rpartition(".")[2],
        "type": kind,
        "inputType": "UPLOAD",
        "durationSeconds": seconds if seconds and kind != "IMAGE" else None,
        "thumbnailUrl": None,
        "visibility": "ORGANIZATION",
        "width": found.width or None,
        "height": found.height or None,
    }
    emulator.store.put(_KIND, asset["id"], asset)
    return JSONResponse(asset, 201)


async def list_all(emulator: Emulator, request: Request) -> Response:
    """The assets that fit the filters, a page of them."""
    query = request.query_params
    types, text = words(request, "types", TYPES), query.get("searchQuery", "")
    found = [
        asset
        for asset in emulator.store.all(_KIND, newest_first=True)
        if (not types or asset["type"] in types)
        and text.lower() in str(asset["name"]).lower()
        and not query.get("projectId")
    ]
    if sort := query.get("sortBy"):
        if sort not in _SORTS:
            raise invalid(f"sortBy must be one of: {', '.join(_SORTS)}")
        member, descending = _SORTS[sort]
        found.sort(key=lambda asset: str(asset[member]), reverse=descending)
    total, limit = len(found), page_limit(request) or 100
    if cursor := query.get("cursor"):
        ids = [asset["id"] for asset in found]
        if cursor not in ids:
            raise invalid("cursor does not name an asset")
        found = found[ids.index(cursor) + 1 :]
    page = found[:limit]
    more = page[-1]["id"] if len(found) > limit else None
    return JSONResponse({"items": page, "nextCursor": more, "totalCount": total})


async def one(emulator: Emulator, request: Request) -> Response:
    """Read, rename or remove an asset."""
    asset = find(emulator, request.path_params["id"])
    if request.method == "DELETE":
        emulator.store.delete(_KIND, asset["id"])
    elif request.method == "PATCH":
        body = await read_object(request)
        if not isinstance(body.get("name"), str):
            raise invalid("name must be a string", "name")
        asset = {**asset, "name": body["name"], "updatedAt": iso(time.time())}
        emulator.store.put(_KIND, asset["id"], asset)
    return JSONResponse(asset)


def find(emulator: Emulator, id: str) -> dict[str, Any]:
    """An asset; ApiError 400 for a malformed id, 404 for an unknown one."""
    if not is_uuid(id):
        raise ApiError(400, "the asset id is not valid", "invalid_asset_id_format")
    asset = emulator.store.get(_KIND, id)
    if asset is None:
        raise ApiError(404, "the asset does not exist", "asset_not_found")
    return asset
