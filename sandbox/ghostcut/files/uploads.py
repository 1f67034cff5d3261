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
from sandbox.common.store import Store
from sandbox.ghostcut.envelope import BAD_PARAMETER, RejectedError

BUCKET = "ghost-cut"
ACCESS_ID = "SANDBOXOSSACCESSID"
MAX_BYTES = 1000 * 1024 * 1024
_TYPES = ("image", "video", "srt")
_CALLBACK = base64.b64encode(b'{"callbackBody":"bucket=${bucket}&object=${object}"}').decode()


class Uploads:
    """Uploaded material of all accounts, in files beside a document for each key."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def apply(self, account: str, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Grant an upload into a folder of the account's own; raises RejectedError."""
        nonce, kind = data.get("nonce"), data.get("materialFileType", "image")
        seconds = data.get("expireSeconds", 3600)
        if not isinstance(nonce, str) or not nonce:
            raise RejectedError(BAD_PARAMETER, "nonce is required")
        if kind not in _TYPES:
            raise RejectedError(BAD_PARAMETER, "materialFileType is unknown")
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= 86400:
            raise RejectedError(BAD_PARAMETER, "expireSeconds must be from 1 to 86400")
        expire = int(time.time()) + seconds
        folder = f"material/{_owner(account)}/{secrets.token_hex(8)}/"
        expiration = datetime.fromtimestamp(expire, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        conditions = [["content-length-range", 0, MAX_BYTES], ["starts-with", "$key", folder]]
        policy = base64.b64encode(dump({"expiration": expiration, "conditions": conditions}))
        host = f"{origin}/oss/{BUCKET}"
        return {
            "accessid": ACCESS_ID,
            "base64CallbackBody": _CALLBACK,
            "dir": folder,
            "expire": str(expire),
            "host": host,
            "ossBucket": BUCKET,
            "ossEndpoint": origin.partition("://")[2],
            "policy": policy.decode(),
            "signature": self._sign(policy.decode()),
            "urlPrefix": f"{host}/{folder}",
        }

    async def form(self, request: Request) -> Response:
        """The form's target: `{"Status":"OK"}` and `Content-MD5`, or 400 / 403."""
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BYTES + 65536:
            return _refuse(400, "EntityTooLarge")
        try:
            form = await request.form(max_files=1, max_fields=20)
        except MultiPartException:
            return _refuse(400, "MalformedPOSTRequest")
        try:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            file = form.get("file")
            if not isinstance(file, UploadFile) or list(form)[-1] != "file":
                return _refuse(400, "IncorrectNumberOfFilesInPOSTRequest")
            if not self._allowed(fields):
                return _refuse(403, "AccessDenied")
            digest = await self._keep(fields["key"], file)
        finally:
            await form.close()
        headers = {"Content-MD5": base64.b64encode(digest).decode()}
        return Response(b'{"Status":"OK"}', media_type="application/json", headers=headers)

    def serve(self, key: str) -> Response:
        """GET of an uploaded file."""
        path = self._path(key)
        if self._store.get("upload", key) is None or not path.is_file():
            return _refuse(404, "NoSuchKey")
        return FileResponse(path)

    def remove(self, account: str, data: Mapping[str, Any]) -> int:
        """Delete one uploaded file of the account; the number of files deleted."""
        key = data.get("key")
        if not isinstance(key, str) or not key:
            raise RejectedError(BAD_PARAMETER, "key is required")
        if not key.startswith(f"material/{_owner(account)}/"):
            return 0
        self._path(key).unlink(missing_ok=True)
        return int(self._store.delete("upload", key))

    async def _keep(self, key: str, file: UploadFile) -> bytes:
        digest = hashlib.md5(usedforsecurity=False)
        path = self._path(key)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with partial.open("wb") as out:
            while chunk := await file.read(1 << 18):
                digest.update(chunk)
                out.write(chunk)
        partial.replace(path)
        self._store.put("upload", key, {"size": path.stat().st_size})
        return digest.digest()

    def _path(self, key: str) -> Path:
        # The key is the client's text; only its digest names a file.
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def _sign(self, policy: str) -> str:
        document = self._store.get("oss", "secret")
        if document is None:
            document = {"value": secrets.token_hex(16)}
            self._store.put("oss", "secret", document)
        mac = hmac.new(document["value"].encode(), policy.encode(), "sha1")
        return base64.b64encode(mac.digest()).decode()

    def _allowed(self, fields: Mapping[str, str]) -> bool:
        policy, given = fields.get("policy", ""), fields.get("signature", "")
        good = hmac.compare_digest(self._sign(policy).encode(), given.encode())
        if not good or fields.get("OSSAccessKeyId") != ACCESS_ID:
            return False
        document = json.loads(base64.b64decode(policy))
        expiration = datetime.strptime(document["expiration"], "%Y-%m-%dT%H:%M:%S.%f%z")
        folder = document["conditions"][1][2]
        key = fields.get("key", "")
        return expiration > datetime.now(UTC) and key.startswith(folder) and key != folder


def _owner(account: str) -> str:
    return hashlib.sha256(account.encode()).hexdigest()[:12]


def _refuse(status: int, code: str) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return Response(body, status_code=status, media_type="application/xml")
