"""Files that callers put into the vendor's storage, and serving them."""

import asyncio
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from sandbox.common.stored_files import storage_error
from sandbox.sync_so.emulator import Emulator

UPLOAD_SECONDS = 604_800
_KIND = "upload"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_PATH = re.compile(r"/storage/uploads/([0-9a-f-]{36})/[^/?#]+$")


@dataclass(frozen=True)
class FilePart:
    """A file in a multipart create: type of the input, file name, media type, bytes."""

    kind: str
    name: str
    content_type: str
    data: bytes


async def put(emulator: Emulator, request: Request) -> Response:
    """Take an announced file at its signed address; its type and size have to be as announced."""
    upload = _upload(emulator, request)
    if (
        upload is None
        or request.query_params.get("signature") != upload["signature"]
        or request.headers.get("content-type") != upload["contentType"]
    ):
        return storage_error(403, "SignatureDoesNotMatch")
    if upload["until"] < time.time():
        return storage_error(403, "AccessDenied")
    path = _file(emulator, upload)
    partial = path.with_name(path.name + "." + secrets.token_hex(4))
    try:
        if await _receive(request, partial, upload["size"]) != upload["size"]:
            return storage_error(400, "IncompleteBody")
        await asyncio.to_thread(partial.replace, path)
    except ClientDisconnect:
        return storage_error(400, "IncompleteBody")
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)
    return Response(status_code=200)


async def get(emulator: Emulator, request: Request) -> Response:
    """Serve an uploaded file; its address needs no key."""
    upload = _upload(emulator, request)
    if upload is None or not await asyncio.to_thread(_file(emulator, upload).exists):
        return storage_error(404, "NoSuchKey")
    return FileResponse(_file(emulator, upload), media_type=upload["contentType"])


def announce(emulator: Emulator, name: str, content_type: str, size: int) -> dict[str, Any]:
    """The record of a file to come: `id`, `name` in its address, `signature` for its PUT."""
    upload: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": quote(_UNSAFE.sub("_", name)[-120:]),
        "contentType": content_type,
        "size": size,
        "signature": secrets.token_hex(16),
        "until": time.time() + UPLOAD_SECONDS,
    }
    emulator.store.put(_KIND, upload["id"], upload)
    return upload


def address(upload: dict[str, Any], base_url: str) -> str:
    """The public address of an upload."""
    return f"{base_url}/storage/uploads/{upload['id']}/{upload['name']}"


def keep(emulator: Emulator, part: FilePart, base_url: str) -> str:
    """Store a file of a multipart create; returns its address."""
    upload = announce(emulator, part.name, part.content_type, len(part.data))
    _file(emulator, upload).write_bytes(part.data)
    return address(upload, base_url)


def at_address(emulator: Emulator, url: str) -> dict[str, Any] | None:
    """The upload with this address, under any host name; None for other addresses."""
    found = _PATH.search(url)
    return emulator.store.get(_KIND, found.group(1)) if found else None


def local_file(emulator: Emulator, url: str) -> Path | None:
    """The uploaded file with this address, None until it is there."""
    upload = at_address(emulator, url)
    path = _file(emulator, upload) if upload is not None else None
    return path if path is not None and path.exists() else None


def _file(emulator: Emulator, upload: dict[str, Any]) -> Path:
    folder = emulator.data_dir / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / str(upload["id"])


def _upload(emulator: Emulator, request: Request) -> dict[str, Any] | None:
    if "x-api-key" in request.headers:
        emulator.store.counter("storage requests with a key")
    return emulator.store.get(_KIND, request.path_params["id"])


async def _receive(request: Request, path: Path, limit: int) -> int:
    """The number of bytes received; it stops behind the limit."""
    size = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                break
            await asyncio.to_thread(file.write, chunk)
    return size
