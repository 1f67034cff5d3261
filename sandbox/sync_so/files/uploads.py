"""Files that callers put into the vendor's storage: tickets, the PUT, and the public address."""

import asyncio
import re
import secrets
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from sandbox.sync_so.api.request_body import Upload, parse_json, read_limited
from sandbox.sync_so.emulator import Emulator, json_reply
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.options import is_number
from sandbox.sync_so.rules.tables import ASSET_MAX

KIND = "upload"
TICKET_SECONDS = 604_800
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_PATH = re.compile(r"/storage/uploads/([0-9a-f-]{36})/[^/?#]+$")


def upload_routes(emulator: Emulator) -> list[Route]:
    """POST /v2/assets/upload, and the storage side of it."""

    async def ticket(request: Request) -> Response:
        body = parse_json(await read_limited(request, 1 << 16), "the body")
        name, kind, size = _wanted(body)
        upload = _new(emulator, name, kind, size)
        base = emulator.base_url(request)
        url = f"{base}/storage/uploads/{upload['id']}/{upload['name']}"
        return json_reply(
            {
                "uploadUrl": f"{url}?signature={upload['signature']}",
                "url": url,
                "expiresIn": TICKET_SECONDS,
            },
            201,
        )

    async def put(request: Request) -> Response:
        upload = _asked(emulator, request)
        if upload is None or request.query_params.get("signature") != upload["signature"]:
            return _storage_error(403, "SignatureDoesNotMatch")
        if upload["until"] < time.time():
            return _storage_error(403, "AccessDenied")
        if request.headers.get("content-type") != upload["contentType"]:
            return _storage_error(403, "SignatureDoesNotMatch")
        path = file_path(emulator, upload["id"])
        partial = path.with_name(path.name + "." + secrets.token_hex(4))
        try:
            received = await _receive(request, partial, upload["size"])
            if received != upload["size"]:
                return _storage_error(400, "IncompleteBody")
            await asyncio.to_thread(partial.replace, path)
        except ClientDisconnect:
            return _storage_error(400, "IncompleteBody")
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return Response(status_code=200)

    async def get(request: Request) -> Response:
        upload = _asked(emulator, request)
        path = file_path(emulator, upload["id"]) if upload is not None else None
        if upload is None or path is None or not await asyncio.to_thread(path.exists):
            return _storage_error(404, "NoSuchKey")
        return FileResponse(path, media_type=upload["contentType"])

    storage = "/storage/uploads/{id}/{name}"
    return [
        emulator.endpoint("/v2/assets/upload", "asset", ticket, methods=["POST"]),
        emulator.endpoint(storage, "upload", put, methods=["PUT"], authenticated=False),
        emulator.endpoint(storage, "upload", get, methods=["GET"], authenticated=False),
    ]


def keep(emulator: Emulator, part: Upload, base_url: str) -> str:
    """Store a file part of a multipart create; returns its address in the storage."""
    upload = _new(emulator, part.name, part.content_type, len(part.data))
    file_path(emulator, upload["id"]).write_bytes(part.data)
    return f"{base_url}/storage/uploads/{upload['id']}/{upload['name']}"


def record_of(emulator: Emulator, url: str) -> dict[str, Any] | None:
    """The upload behind an address of our storage, whatever the host name; None for others."""
    found = _PATH.search(url)
    return emulator.store.get(KIND, found.group(1)) if found else None


def local_file(emulator: Emulator, url: str) -> Path | None:
    """The uploaded file behind an address of our storage, if it is there."""
    upload = record_of(emulator, url)
    path = file_path(emulator, upload["id"]) if upload is not None else None
    return path if path is not None and path.exists() else None


def file_path(emulator: Emulator, id: str) -> Path:
    """Where the bytes of an upload are."""
    folder = emulator.data_dir / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / id


def _wanted(body: Any) -> tuple[str, str, int]:
    if not isinstance(body, dict):
        raise invalid("the body must be an object")
    name, kind, size = body.get("fileName"), body.get("contentType"), body.get("size")
    if not isinstance(name, str) or not name:
        raise invalid("fileName must be a string", "fileName")
    if not isinstance(kind, str) or "/" not in kind:
        raise invalid("contentType must be a media type", "contentType")
    if not is_number(size) or not isinstance(size, int) or size < 1:
        raise invalid("size must be a number of bytes", "size")
    if size > ASSET_MAX:
        raise ApiError(413, "the file is too large", "file_size_exceeds_plan_limit", field="size")
    return name, kind, size


def _new(emulator: Emulator, name: str, content_type: str, size: int) -> dict[str, Any]:
    upload: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": quote(_UNSAFE.sub("_", name)[-120:]),
        "contentType": content_type,
        "size": size,
        "signature": secrets.token_hex(16),
        "until": time.time() + TICKET_SECONDS,
    }
    emulator.store.put(KIND, upload["id"], upload)
    return upload


def _asked(emulator: Emulator, request: Request) -> dict[str, Any] | None:
    if "x-api-key" in request.headers:
        emulator.store.counter("storage requests with a key")
    return emulator.store.get(KIND, request.path_params["id"])


async def _receive(request: Request, path: Path, limit: int) -> int:
    size = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                return size
            await asyncio.to_thread(file.write, chunk)
    return size


def _storage_error(status: int, code: str) -> Response:
    return Response(
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>',
        status_code=status,
        media_type="application/xml",
    )
