"""Logs as one JSON object per line. They hold no query, which may be a signature."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pro_video.core.redaction import redact

logger = logging.getLogger("pro_video.gateway.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
_EXTRAS = ("method", "path", "status", "milliseconds", "owner", "job_id", "client")


class JsonFormatter(logging.Formatter):
    """Formats log records as JSON and redacts secrets in their texts."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        request_id = getattr(record, "request_id", None) or _current.get()
        if request_id:
            entry["request_id"] = request_id
        for name in _EXTRAS:
            value = getattr(record, name, None)
            if value is not None:
                entry[name] = value
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info)[-4000:])
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(level: int = logging.INFO) -> None:
    """Send all logs of this process to standard output as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pro_video").setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "prefect"):
        other = logging.getLogger(name)
        other.handlers = []
        other.propagate = True
    logging.getLogger("uvicorn").setLevel(level)
    # They log queries and every malformed form.
    for name in ("httpx", "uvicorn.access", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)


class RequestIds:
    """ASGI middleware: gives each request an id, or keeps the client's, and logs the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        token = _current.set(request_id)
        began = time.monotonic()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [
                        *message.get("headers", []),
                        (b"x-request-id", request_id.encode()),
                    ],
                }
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._log(scope, status, began)
            _current.reset(token)

    def _log(self, scope: Scope, status: int, began: float) -> None:
        client = scope.get("client")
        job_id = scope.get("path_params", {}).get("job_id")
        logger.info(
            "request",
            extra={
                "method": scope["method"],
                "path": scope["path"][:300],
                "status": status,
                "milliseconds": round((time.monotonic() - began) * 1000, 1),
                "owner": scope["state"].get("owner"),
                "job_id": str(job_id) if job_id else None,
                "client": client[0] if client else None,
            },
        )
