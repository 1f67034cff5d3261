"""The front of every call: checks in the vendor's order, faults, and the envelope."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.common.faults import NO_FAULT, Fault
from sandbox.common.http_faults import answer
from sandbox.common.json_text import load
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.envelope import (
    BAD_PARAMETER,
    KEY_INVALID,
    MESSAGES,
    POST_ONLY,
    SIGN_INVALID,
    SIGN_REQUISITE,
    RejectedError,
    envelope,
)
from sandbox.ghostcut.faults import ENVELOPE_KINDS
from sandbox.ghostcut.signing import matches

MAX_BODY = 4 << 20
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True)
class Call:
    """One authenticated call; `origin` is the base of links in its response."""

    account: str
    data: Mapping[str, Any]
    raw: bytes
    path: str
    origin: str
    fault: Fault


@dataclass(frozen=True)
class Reply:
    """The envelope's `body`, and the total where the vendor gives one beside it."""

    body: Any
    count: int | None = None


Handler = Callable[[Emulator, Call], Awaitable[Reply]]


def endpoint(
    emulator: Emulator, path: str, name: str, handler: Handler, *, signed: bool = True
) -> Route:
    """A route for one call of the vendor; `name` is the call's name for faults."""

    def wrap(body: Any, count: int | None = None, **error: Any) -> Response:
        trace = not emulator.switches["omit_trace"]
        return envelope(body, trace=trace, count=count, **error)

    def reject(fault: Fault) -> Response:
        code = int(fault.kind) if fault.kind.isdigit() else int(fault.number("code", 9999))
        message = fault.text("msg", MESSAGES.get(code, "Business error"))
        return wrap(None, code=code, message=message)

    async def serve(request: Request) -> Response:
        raw = await _read(request)
        data = _object(raw)
        fault = emulator.faults.take(name, **_facts(data or {}, path))

        async def accept() -> Response:
            try:
                account = _authenticate(emulator, request, raw) if signed else ""
                if data is None:
                    raise RejectedError(BAD_PARAMETER, "the body is not a JSON object")
                origin = emulator.origin(request)
                call = Call(account, data, raw, path, origin, fault or NO_FAULT)
                reply = await handler(emulator, call)
            except RejectedError as error:
                return wrap(None, code=error.code, message=error.message)
            return wrap(reply.body, reply.count)

        return await answer(request.scope, fault, accept, dict.fromkeys(ENVELOPE_KINDS, reject))

    return Route(path, serve, methods=_METHODS)


def _authenticate(emulator: Emulator, request: Request, raw: bytes) -> str:
    """The AppKey of a signed call."""
    if request.method != "POST":
        raise RejectedError(POST_ONLY)
    key, signature = request.headers.get("appkey"), request.headers.get("appsign")
    if not key or not signature:
        raise RejectedError(SIGN_REQUISITE)
    secret = emulator.secret(key)
    if secret is None:
        raise RejectedError(KEY_INVALID)
    if not matches(raw, secret, signature):
        raise RejectedError(SIGN_INVALID)
    return key


async def _read(request: Request) -> bytes:
    """The raw body; bytes beyond the limit are dropped, which breaks the signature."""
    raw = bytearray()
    async for chunk in request.stream():
        if len(raw) <= MAX_BODY:
            raw += chunk
    return bytes(raw[: MAX_BODY + 1])


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        data = load(raw)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _facts(data: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The facts for a fault's `match`: path, reference and url (of a create), work (its id)."""
    facts: dict[str, Any] = {"path": path}
    for fact, field in (("reference", "names"), ("url", "urls"), ("work", "idWorks")):
        values = data.get(field)
        if isinstance(values, list) and values:
            facts[fact] = values[0] if fact != "work" else str(values[0])
    if "id" in data:
        facts["work"] = str(data["id"])
    return facts
