"""The media library: register an uploaded file, list, rename, remove."""

import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.sync_so.api.query import page_limit
from sandbox.sync_so.api.request_body import parse_json, read_limited
from sandbox.sync_so.emulator import Emulator, iso, json_reply
from sandbox.sync_so.files import uploads
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.request import is_uuid
from sandbox.sync_so.work.processing import probe

KIND = "asset"
TYPES = ("VIDEO", "AUDIO", "IMAGE")
_SORTS = {
    "nameAsc": ("name", False),
    "nameDesc": ("name", True),
    "createdAtAsc": ("createdAt", False),
    "createdAtDesc": ("createdAt", True),
    "kindAsc": ("type", False),
    "kindDesc": ("type", True),
}


def asset_routes(emulator: Emulator) -> list[Route]:
    """/v2/assets and /v2/assets/{id}."""

    async def register(request: Request) -> Response:
        body = parse_json(await read_limited(request, 1 << 16), "the body")
        if not isinstance(body, dict):
            raise invalid("the body must be an object")
        url, kind = body.get("url"), body.get("type")
        if not isinstance(url, str):
            raise invalid("url must be a URL address", "url")
        if kind not in TYPES:
            raise invalid(f"type must be one of: {', '.join(TYPES)}", "type")
        upload = uploads.record_of(emulator, url)
        if upload is None:
            raise ApiError(400, "the address is not in your storage", "file_not_in_org_storage")
        path = uploads.local_file(emulator, url)
        if path is None:
            raise ApiError(404, "nothing was uploaded there", "uploaded_file_not_found")
        found = await emulator.pool.run(probe, path)
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
            "durationSeconds": None,
            "thumbnailUrl": None,
            "visibility": "ORGANIZATION",
            "width": found.width or None if found else None,
            "height": found.height or None if found else None,
        }
        if found is not None and kind != "IMAGE":
            asset["durationSeconds"] = found.video_seconds or found.audio_seconds
        emulator.store.put(KIND, asset["id"], asset)
        return json_reply(asset, 201)

    async def listing(request: Request) -> Response:
        query = request.query_params
        found = emulator.store.all(KIND, newest_first=True)
        if wanted := _types(query.getlist("types")):
            found = [asset for asset in found if asset["type"] in wanted]
        if text := query.get("searchQuery"):
            found = [asset for asset in found if text.lower() in str(asset["name"]).lower()]
        if sort := query.get("sortBy"):
            if sort not in _SORTS:
                raise invalid(f"sortBy must be one of: {', '.join(_SORTS)}")
            member, down = _SORTS[sort]
            found.sort(key=lambda asset: str(asset[member]), reverse=down)
        if query.get("projectId"):
            found = []
        total = len(found)
        limit = page_limit(query.get("limit")) or 100
        if cursor := query.get("cursor"):
            ids = [asset["id"] for asset in found]
            if cursor not in ids:
                raise invalid("cursor does not name an asset")
            found = found[ids.index(cursor) + 1 :]
        page = found[:limit]
        more = page[-1]["id"] if len(found) > limit else None
        return json_reply({"items": page, "nextCursor": more, "totalCount": total})

    async def one(request: Request) -> Response:
        asset = find(emulator, request.path_params["id"])
        if request.method == "DELETE":
            emulator.store.delete(KIND, asset["id"])
        elif request.method == "PATCH":
            body = parse_json(await read_limited(request, 1 << 16), "the body")
            if not isinstance(body, dict) or not isinstance(body.get("name"), str):
                raise invalid("name must be a string", "name")
            asset = {**asset, "name": body["name"], "updatedAt": iso(time.time())}
            emulator.store.put(KIND, asset["id"], asset)
        return json_reply(asset)

    return [
        emulator.endpoint("/v2/assets", "asset", register, methods=["POST"]),
        emulator.endpoint("/v2/assets", "asset", listing),
        emulator.endpoint("/v2/assets/{id}", "asset", one, methods=["GET", "PATCH", "DELETE"]),
    ]


def find(emulator: Emulator, id: str) -> dict[str, Any]:
    """An asset; ApiError 400 or 404."""
    if not is_uuid(id):
        raise ApiError(400, "the asset id is not valid", "invalid_asset_id_format")
    asset = emulator.store.get(KIND, id)
    if asset is None:
        raise ApiError(404, "the asset does not exist", "asset_not_found")
    return asset


def _types(given: list[str]) -> set[str]:
    wanted = {name for text in given for name in text.split(",") if name}
    if unknown := wanted - set(TYPES):
        raise invalid(f"types: {sorted(unknown)[0]} does not exist")
    return wanted
