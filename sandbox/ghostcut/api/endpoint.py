"""The front of every signed call: checks in the vendor's order, faults, and the envelope."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.common.faults import Fault, FaultQueue
from sandbox.common.http_faults import answer
from sandbox.common.json_text import load
from sandbox.ghostcut import envelope
from sandbox.ghostcut.envelope import RejectedError
from sandbox.ghostcut.signing import matches
from sandbox.ghostcut.switches import Switches

MAX_BODY = 4 << 20
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

REJECT_KINDS = frozenset({"reject", "9999", "3006"})
"""Envelope faults: `reject` takes `code` and `msg`; the others are its two usual cases."""


@dataclass(frozen=True)
class Call:
    """One authenticated call; `origin` is the address under which the caller reached us."""

    account: str
    data: Mapping[str, Any]
    raw: bytes
    path: str
    origin: str
    fault: Fault | None


@dataclass(frozen=True)
class Reply:
    """The envelope's `body`, and the total where the vendor gives one at the top level."""

    body: Any
    count: int | None = None


Handler = Callable[[Call], Awaitable[Reply]]


class Gateway:
    """Makes routes out of handlers. `secrets` maps each AppKey to its AppSecret."""

    def __init__(
        self,
        faults: FaultQueue,
        switches: Switches,
        secrets: Mapping[str, str],
        public_base_url: str | None,
    ) -> None:
        self._faults = faults
        self._switches = switches
        self._secrets = secrets
        self._public_base_url = public_base_url

    def origin(self, request: Request) -> str:
        """Address for links to this server, without a slash at the end."""
        return (self._public_base_url or str(request.base_url)).rstrip("/")

    def route(self, path: str, name: str, handler: Handler, *, signed: bool = True) -> Route:
        """A route for one call of the vendor; `name` is the call's name for faults."""

        async def endpoint(request: Request) -> Response:
            raw = await _read(request)
            data = _object(raw)
            fault = self._faults.take(name, **_facts(data or {}, path))

            async def accept() -> Response:
                try:
                    account = self._authenticate(request, raw) if signed else ""
                    if data is None:
                        raise RejectedError(envelope.BAD_PARAMETER, "the body is not a JSON object")
                    call = Call(account, data, raw, path, self.origin(request), fault)
                    reply = await handler(call)
                except RejectedError as error:
                    return self._envelope(None, code=error.code, msg=error.msg)
                return self._envelope(reply.body, count=reply.count)

            return await answer(
                request.scope, fault, accept, dict.fromkeys(REJECT_KINDS, self._reject)
            )

        return Route(path, endpoint, methods=_METHODS)

    def _authenticate(self, request: Request, raw: bytes) -> str:
        if request.method != "POST":
            raise RejectedError(envelope.POST_ONLY)
        key, signature = request.headers.get("appkey"), request.headers.get("appsign")
        if not key or not signature:
            raise RejectedError(envelope.SIGN_REQUISITE)
        secret = self._secrets.get(key)
        if secret is None:
            raise RejectedError(envelope.KEY_INVALID)
        if not matches(raw, secret, signature):
            raise RejectedError(envelope.SIGN_INVALID)
        return key

    def _reject(self, fault: Fault) -> Response:
        code = int(fault.kind) if fault.kind.isdigit() else int(fault.number("code", 9999))
        message = fault.text("msg", envelope.MESSAGES.get(code, "Business error"))
        return self._envelope(None, code=code, msg=message)

    def _envelope(self, body: Any, **more: Any) -> Response:
        return envelope.answer(body, trace=not self._switches.omit_trace, **more)


async def _read(request: Request) -> bytes:
    """The raw body; what is beyond the limit is read and dropped, which breaks the signature."""
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
    """The fields for a fault's `match`: path, reference and url (create), work (by id)."""
    facts: dict[str, Any] = {"path": path}
    for fact, field in (("reference", "names"), ("url", "urls"), ("work", "idWorks")):
        values = data.get(field)
        if isinstance(values, list) and values:
            facts[fact] = values[0] if fact != "work" else str(values[0])
    if "id" in data:
        facts["work"] = str(data["id"])
    return facts
