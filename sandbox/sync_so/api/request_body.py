"""Read the body of a create in both of its encodings, JSON and multipart."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.tables import MULTIPART_FILE_MAX

JSON_MAX = 16 * 1024 * 1024
_JSON_PARTS = ("options", "segments", "dubParams", "dialogueEdit")
_FILE_PARTS = ("video", "audio", "image")


@dataclass
class Upload:
    """A file part: its input type, name, media type, bytes."""

    kind: str
    name: str
    content_type: str
    data: bytes


@dataclass
class Body:
    """A parsed body; `fingerprint` is equal exactly for equal inputs, whatever the encoding."""

    value: Any
    uploads: list[Upload] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        canonical = json.dumps(self.value, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode())
        for upload in self.uploads:
            digest.update(upload.kind.encode() + hashlib.sha256(upload.data).digest())
        return digest.hexdigest()


async def read_body(request: Request) -> Body:
    """Parse the body; ApiError 400 or 413 when that cannot be done."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _multipart(request)
    return Body(parse_json(await read_limited(request, JSON_MAX), "the body"))


async def read_limited(request: Request, limit: int) -> bytes:
    """The raw body; ApiError 413 beyond `limit` bytes."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise ApiError(413, "request entity too large")
    return bytes(raw)


def parse_json(text: bytes | str, what: str) -> Any:
    """A JSON value without NaN or infinity; ApiError 400 otherwise."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(f"{what} is not valid JSON") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


async def _multipart(request: Request) -> Body:
    try:
        form = await request.form(max_files=8, max_fields=64, max_part_size=JSON_MAX)
    except HTTPException as error:
        raise invalid("the multipart body cannot be read") from error
    async with _closing(form):
        value: dict[str, Any] = {}
        inputs: list[Any] = []
        uploads: list[Upload] = []
        for name, part in form.multi_items():
            if isinstance(part, UploadFile):
                uploads.append(await _file(name, part))
            elif name in ("input", "input[]"):
                parsed = parse_json(part, "input")
                inputs += parsed if isinstance(parsed, list) else [parsed]
            elif name in _JSON_PARTS:
                value[name] = parse_json(part, name)
            else:
                value[name] = part
    if inputs:
        value["input"] = inputs
    return Body(value, uploads)


async def _file(name: str, part: UploadFile) -> Upload:
    if name not in _FILE_PARTS:
        raise invalid(f"there is no file part {name}")
    data = await part.read(MULTIPART_FILE_MAX + 1)
    if len(data) > MULTIPART_FILE_MAX:
        raise ApiError(413, f"{name} is larger than {MULTIPART_FILE_MAX} bytes")
    return Upload(
        name, part.filename or name, part.content_type or "application/octet-stream", data
    )


class _closing:
    def __init__(self, form: Any) -> None:
        self._form = form

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await self._form.close()
