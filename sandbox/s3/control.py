"""The control API beside S3's own paths, for tests and people on the same machine.

    GET    /_sandbox/health   {"status": "ok"}
    GET    /_sandbox/audit    requests per operation, their statuses, uploads in progress
    GET    /_sandbox/faults   {"faults": [...]} to come; PUT replaces the queue, POST adds to it,
                              DELETE clears it

It has no authentication and therefore answers only peers on the loopback interface. The name of
its "bucket" is one that S3 forbids, so that no real bucket is hidden by it.
"""

from __future__ import annotations

import ipaddress
import json
import threading
from collections import Counter, defaultdict
from typing import Any

from sandbox.s3.errors import S3Error
from sandbox.s3.faults import FaultError, FaultQueue
from sandbox.s3.messages.request import Request, Response
from sandbox.s3.service import Service

MAX_BODY_BYTES = 1024 * 1024


class Counts:
    """Requests by operation and status; status 0 stands for a connection that broke."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[str, Counter[int]] = defaultdict(Counter)

    def add(self, operation: str, status: int) -> None:
        with self._lock:
            self._counts[operation][status] += 1

    def snapshot(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {
                name: {str(status): count for status, count in sorted(counter.items())}
                for name, counter in sorted(self._counts.items())
            }


class Control:
    """Answers the requests under /_sandbox."""

    BUCKET = "_sandbox"

    def __init__(self, service: Service, faults: FaultQueue, counts: Counts) -> None:
        self._service = service
        self._faults = faults
        self._counts = counts

    def answer(self, request: Request, peer: str) -> Response:
        if not ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
            return _json({"error": "the control API answers loopback peers only"}, 403)
        try:
            return _json(self._act(request))
        except (FaultError, S3Error) as error:
            return _json({"error": str(error)}, 400)
        except LookupError:
            return _json({"error": "no such call"}, 404)

    def _act(self, request: Request) -> Any:
        match request.method, request.key:
            case "GET", "health":
                return {"status": "ok"}
            case "GET", "audit":
                return self._audit()
            case "GET", "faults":
                pass
            case "DELETE", "faults":
                self._faults.replace([])
            case "PUT" | "POST", "faults":
                body = _read_json(request)
                if not isinstance(body, dict) or set(body) != {"faults"}:
                    raise FaultError('the body is {"faults": [...]}')
                queue = self._faults.replace if request.method == "PUT" else self._faults.add
                queue(body["faults"])
            case _:
                raise LookupError(request.path)
        return {"faults": self._faults.snapshot()}

    def _audit(self) -> dict[str, Any]:
        statuses = self._counts.snapshot()
        uploads = self._service.uploads
        return {
            "requests": {name: sum(counts.values()) for name, counts in statuses.items()},
            "statuses": statuses,
            "multipart_uploads": [
                {
                    "bucket": upload.bucket,
                    "key": upload.key,
                    "upload_id": upload.id,
                    "initiated": upload.initiated,
                    "parts": len(uploads.parts(upload)),
                }
                for upload in uploads.listing()
            ],
        }


def _read_json(request: Request) -> Any:
    data = bytearray()
    view = memoryview(bytearray(64 * 1024))
    while count := request.body.read_into(view):
        data += view[:count]
        if len(data) > MAX_BODY_BYTES:
            raise FaultError(f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise FaultError("the body is not JSON") from None


def _json(value: Any, status: int = 200) -> Response:
    body = json.dumps(value).encode()
    return Response(status, {"Content-Type": "application/json"}, body)
