"""Request bodies: JSON for every call, and for a create multipart as well."""

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sandbox.common.json_text import load
from sandbox.sync_so.files.uploads import FilePart
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.tables import MULTIPART_FILE_MAX

JSON_MAX = 16 * 1024 * 1024
_JSON_PARTS = ("options", "segments", "dubParams", "dialogueEdit")
_FILE_PARTS = ("video", "audio", "image")


@dataclass
class CreateBody:
    """The body of a create; `fingerprint` is equal exactly for equal inputs in either encoding."""

    value: Any
    files: list[FilePart] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        canonical = json.dumps(self.value, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode())
        for part in self.files:
            digest.update(part.kind.encode() + hashlib.sha256(part.data).digest())
        return digest.hexdigest()


async def read_create(request: Request) -> CreateBody:
    """The body of a create; ApiError 400 when it is malformed, 413 when it is too large."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _read_multipart(request)
    return CreateBody(await read_json(request))


async def read_json(request: Request) -> Any:
    """A JSON body; ApiError 400 when it is malformed, 413 beyond 16 MiB."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > JSON_MAX:
            raise ApiError(413, "request entity too large")
    return _parse(bytes(raw), "the body")


async def read_object(request: Request) -> dict[str, Any]:
    """As `read_json`, for a body that must be an object."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise invalid("the body must be an object")
    return body


def _parse(text: bytes | str, what: str) -> Any:
    try:
        return load(text)
    except ValueError as error:
        raise invalid(f"{what} is not valid JSON") from error


async def _read_multipart(request: Request) -> CreateBody:
    try:
        form = await request.form(max_files=8, max_fields=64, max_part_size=JSON_MAX)
    except HTTPException as error:
        raise invalid("the multipart body cannot be read") from error
    body = CreateBody({})
    inputs: list[Any] = []
    async with contextlib.AsyncExitStack() as exits:
        exits.push_async_callback(form.close)
        for name, part in form.multi_items():
            if isinstance(part, UploadFile):
                body.files.append(await _read_file(name, part))
            elif name in ("input", "input[]"):
                parsed = _parse(part, "input")
                inputs += parsed if isinstance(parsed, list) else [parsed]
            else:
                body.value[name] = _parse(part, name) if name in _JSON_PARTS else part
    if inputs:
        body.value["input"] = inputs
    return body


async def _read_file(name: str, part: UploadFile) -> FilePart:
    if name not in _FILE_PARTS:
        raise invalid(f"there is no file part {name}")
    data = await part.read(MULTIPART_FILE_MAX + 1)
    if len(data) > MULTIPART_FILE_MAX:
        raise ApiError(413, f"{name} is larger than {MULTIPART_FILE_MAX} bytes")
    content_type = part.content_type or "application/octet-stream"
    return FilePart(name, part.filename or name, content_type, data)
