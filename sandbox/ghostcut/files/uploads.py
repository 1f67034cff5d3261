"""Upload of local files: the signed policy and the object store's form target.

Source: vendor docs, "upload of local files". The form's target checks the policy as Alibaba's OSS
does: HMAC-SHA1 of the policy text, expiry, key prefix and size.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sandbox.common.json_text import dump
from sandbox.common.stored_files import storage_error
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.envelope import BAD_PARAMETER, RejectedError

BUCKET = "ghost-cut"
ACCESS_ID = "SANDBOXOSSACCESSID"
MAX_BYTES = 1000 * 1024 * 1024
_TYPES = ("image", "video", "srt")
_CALLBACK = base64.b64encode(b'{"callbackBody":"bucket=${bucket}&object=${object}"}').decode()


def apply(emulator: Emulator, account: str, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Grant an upload into a folder of the account; raises RejectedError."""
    nonce, kind = data.get("nonce"), data.get("materialFileType", "image")
    seconds = data.get("expireSeconds", 3600)
    if not isinstance(nonce, str) or not nonce:
        raise RejectedError(BAD_PARAMETER, "nonce is required")
    if kind not in _TYPES:
        raise RejectedError(BAD_PARAMETER, "materialFileType is unknown")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= 86400:
        raise RejectedError(BAD_PARAMETER, "expireSeconds must be from 1 to 86400")
    expire = int(time.time()) + seconds
    folder = f"{_account_folder(account)}{secrets.token_hex(8)}/"
    expiration = datetime.fromtimestamp(expire, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    conditions = [["content-length-range", 0, MAX_BYTES], ["starts-with", "$key", folder]]
    document = dump({"expiration": expiration, "conditions": conditions})
    policy = base64.b64encode(document).decode()
    host = f"{origin}/oss/{BUCKET}"
    return {
        "accessid": ACCESS_ID,
        "base64CallbackBody": _CALLBACK,
        "dir": folder,
        "expire": str(expire),
        "host": host,
        "ossBucket": BUCKET,
        "ossEndpoint": origin.partition("://")[2],
        "policy": policy,
        "signature": _sign(emulator, policy),
        "urlPrefix": f"{host}/{folder}",
    }


async def form(emulator: Emulator, request: Request) -> Response:
    """The form's target: `{"Status":"OK"}` and `Content-MD5`, or 400 or 403."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_BYTES + 65536:
        return storage_error(400, "EntityTooLarge")
    try:
        form = await request.form(max_files=1, max_fields=20)
    except MultiPartException:
        return storage_error(400, "MalformedPOSTRequest")
    try:
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        file = form.get("file")
        if not isinstance(file, UploadFile) or list(form)[-1] != "file":
            return storage_error(400, "IncorrectNumberOfFilesInPOSTRequest")
        if not _allowed(emulator, fields):
            return storage_error(403, "AccessDenied")
        digest = await _keep(emulator, fields["key"], file)
    finally:
        await form.close()
    headers = {"Content-MD5": base64.b64encode(digest).decode()}
    return Response(b'{"Status":"OK"}', media_type="application/json", headers=headers)


async def serve(emulator: Emulator, request: Request) -> Response:
    """GET of an uploaded file."""
    key = request.path_params["key"]
    path = _path(emulator, key)
    if emulator.store.get("upload", key) is None or not path.is_file():
        return storage_error(404, "NoSuchKey")
    return FileResponse(path)


def remove(emulator: Emulator, account: str, data: Mapping[str, Any]) -> int:
    """Delete one uploaded file of the account; the number of files deleted."""
    key = data.get("key")
    if not isinstance(key, str) or not key:
        raise RejectedError(BAD_PARAMETER, "key is required")
    if not key.startswith(_account_folder(account)):
        return 0
    _path(emulator, key).unlink(missing_ok=True)
    return int(emulator.store.delete("upload", key))


async def _keep(emulator: Emulator, key: str, file: UploadFile) -> bytes:
    """Store the file; returns its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    path = _path(emulator, key)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with partial.open("wb") as out:
        while chunk := await file.read(1 << 18):
            digest.update(chunk)
            out.write(chunk)
    partial.replace(path)
    emulator.store.put("upload", key, {"size": path.stat().st_size})
    return digest.digest()


def _path(emulator: Emulator, key: str) -> Path:
    # The key is the client's text; only its digest names a file.
    return emulator.uploads / hashlib.sha256(key.encode()).hexdigest()


def _sign(emulator: Emulator, policy: str) -> str:
    kept = emulator.store.get("oss", "secret")
    if kept is None:
        kept = {"value": secrets.token_hex(16)}
        emulator.store.put("oss", "secret", kept)
    mac = hmac.new(kept["value"].encode(), policy.encode(), "sha1")
    return base64.b64encode(mac.digest()).decode()


def _allowed(emulator: Emulator, fields: Mapping[str, str]) -> bool:
    policy, given = fields.get("policy", ""), fields.get("signature", "")
    good = hmac.compare_digest(_sign(emulator, policy).encode(), given.encode())
    if not good or fields.get("OSSAccessKeyId") != ACCESS_ID:
        return False
    document = json.loads(base64.b64decode(policy))
    expiration = datetime.strptime(document["expiration"], "%Y-%m-%dT%H:%M:%S.%f%z")
    folder = document["conditions"][1][2]
    key = fields.get("key", "")
    return expiration > datetime.now(UTC) and key.startswith(folder) and key != folder


def _account_folder(account: str) -> str:
    return f"material/{hashlib.sha256(account.encode()).hexdigest()[:12]}/"
