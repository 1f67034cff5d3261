"""The control API that both emulators serve beside the vendor's paths, for tests and people.

    GET    /_sandbox/health    {"status": "ok"}
    GET    /_sandbox/audit     what was accepted, billed and replayed
    GET    /_sandbox/settings  every switch; PUT sets the named ones and returns all
    GET    /_sandbox/faults    {"faults": [...]} to come; PUT replaces the queue, POST adds to it,
                               DELETE clears it

It has no authentication: an emulator is for the loopback interface.
"""

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.faults import FaultError, FaultQueue
from sandbox.common.settings import SwitchBoard, SwitchError
from sandbox.common.store import Store

MAX_BODY = 1 << 20


def control_routes(
    store: Store,
    faults: FaultQueue,
    switches: SwitchBoard,
    audit: Callable[[], dict[str, Any]],
) -> list[Route]:
    """The routes under /_sandbox; `audit` is asked anew for each GET of the audit."""

    async def health(_: Request) -> Response:
        store.counter("health", by=0)
        return JSONResponse({"status": "ok"})

    async def read_audit(_: Request) -> Response:
        return JSONResponse(audit())

    async def settings(request: Request) -> Response:
        if request.method == "PUT":
            try:
                return JSONResponse(switches.update(await _body(request)))
            except (SwitchError, _BadBodyError) as error:
                return _refuse(error)
        return JSONResponse(switches.snapshot())

    async def fault_queue(request: Request) -> Response:
        if request.method == "DELETE":
            faults.clear()
        elif request.method in ("PUT", "POST"):
            try:
                body = await _body(request)
                if not isinstance(body, dict) or set(body) != {"faults"}:
                    raise _BadBodyError('the body is {"faults": [...]}')
                queue = faults.replace if request.method == "PUT" else faults.add
                queue(body["faults"])
            except (FaultError, _BadBodyError) as error:
                return _refuse(error)
        return JSONResponse({"faults": faults.snapshot()})

    return [
        Route("/_sandbox/health", health, methods=["GET"]),
        Route("/_sandbox/audit", read_audit, methods=["GET"]),
        Route("/_sandbox/settings", settings, methods=["GET", "PUT"]),
        Route("/_sandbox/faults", fault_queue, methods=["GET", "PUT", "POST", "DELETE"]),
    ]


class _BadBodyError(ValueError):
    pass


async def _body(request: Request) -> Any:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise _BadBodyError(f"the body is larger than {MAX_BODY} bytes")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _BadBodyError(f"the body is not JSON: {error}") from error


def _refuse(error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)
