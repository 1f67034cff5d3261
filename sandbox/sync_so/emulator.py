"""The state that all routes share, and how a generation is stored and shown."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.faults import Fault, FaultQueue
from sandbox.common.http_faults import answer
from sandbox.common.media_pool import MediaPool
from sandbox.common.settings import SwitchBoard
from sandbox.common.store import Store
from sandbox.common.timing import Tasks
from sandbox.sync_so.faults import KNOWN_FAULTS
from sandbox.sync_so.rate_limit import RateLimit
from sandbox.sync_so.responses import ApiError, missing_key, wrong_key
from sandbox.sync_so.switches import SWITCHES

GENERATION = "generation"
ACTIVE = ("PENDING", "PROCESSING")

Record = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]


class Emulator:
    """One organisation's view of the vendor: its generations, assets, keys and switches."""

    def __init__(
        self,
        data_dir: Path,
        api_keys: Sequence[str],
        public_base_url: str | None,
        webhook_secret: str | None,
        pool: MediaPool,
    ) -> None:
        self.data_dir = data_dir
        self.api_keys = tuple(api_keys)
        self.public_base_url = public_base_url.rstrip("/") if public_base_url else None
        self.store = Store(data_dir / "sync_so.sqlite3")
        self.switches = SwitchBoard(self.store, SWITCHES)
        self.faults = FaultQueue(self.store, KNOWN_FAULTS)
        self.tasks = Tasks()
        self.pool = pool
        self.downloads = asyncio.Semaphore(4)
        self.creates = RateLimit()
        self.reads = RateLimit()
        self._link_secret = self._secret("link", secrets.token_hex(32))
        self.webhook_secret = self._secret("webhook", f"whsec_{secrets.token_hex(24)}")
        if webhook_secret is not None:
            self.webhook_secret = webhook_secret
        self._changed: dict[str, asyncio.Event] = {}

    def _secret(self, name: str, fresh: str) -> str:
        """A secret made once per data folder, so that links outlive a restart."""
        with self.store.transaction():
            known = self.store.get("secret", name)
            if known is None:
                self.store.put("secret", name, {"value": fresh})
                return fresh
            return str(known["value"])

    # Generations

    def generation(self, id: str) -> Record | None:
        """The record of a generation, deleted ones included."""
        return self.store.get(GENERATION, id)

    def change(self, id: str, **members: Any) -> Record:
        """Store changed members of a record and wake the requests that wait for it."""
        with self.store.transaction():
            record = self.store.get(GENERATION, id)
            if record is None:
                raise KeyError(id)
            record.update(members)
            self.store.put(GENERATION, id, record)
        event = self._changed.pop(id, None)
        if event is not None:
            event.set()
        return record

    async def wait_for_end(self, id: str, seconds: float) -> None:
        """Return when the generation is terminal, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = self._changed.setdefault(id, asyncio.Event())
                    record = self.generation(id)
                    if record is None or record["status"] not in ACTIVE:
                        return
                    await event.wait()
        except TimeoutError:
            return

    def active_count(self) -> int:
        """Generations that hold a slot."""
        return sum(record["status"] in ACTIVE for record in self.store.all(GENERATION))

    def folder(self, id: str) -> Path:
        """Where the files of a generation are kept."""
        return self.data_dir / "generations" / id

    # Addresses

    def base_url(self, request: Request) -> str:
        """Base of the addresses in an answer: as configured, else as the caller reached us."""
        return self.public_base_url or str(request.base_url).rstrip("/")

    def link_token(self, id: str, name: str) -> str:
        """A fresh token for a result file: `<expiry>.<nonce>.<signature>`."""
        expiry = f"{time.time() + self.switches['link_seconds']:.3f}".replace(".", "-")
        nonce = secrets.token_hex(6)
        return f"{expiry}.{nonce}.{self._sign(id, name, expiry, nonce)}"

    def link_holds(self, id: str, name: str, token: str) -> bool:
        """Whether a token was made here for this file, is not past its time and not revoked."""
        expiry, _, rest = token.partition(".")
        nonce, _, signature = rest.partition(".")
        good = self._sign(id, name, expiry, nonce)
        if not hmac.compare_digest(good.encode(), signature.encode()):
            return False
        if self.store.get("revoked", token) is not None:
            return False
        return time.time() < float(expiry.replace("-", "."))

    def _sign(self, *parts: str) -> str:
        message = "\n".join(parts).encode()
        return hmac.new(self._link_secret.encode(), message, hashlib.sha256).hexdigest()[:32]

    # Calls

    def authenticate(self, request: Request) -> Response | None:
        """The 401 for this request, or None."""
        key = request.headers.get("x-api-key")
        if key is None:
            return missing_key()
        if not any(hmac.compare_digest(key.encode(), own.encode()) for own in self.api_keys):
            return wrong_key()
        return None

    def endpoint(
        self,
        path: str,
        call: str,
        handler: Handler,
        *,
        methods: Sequence[str] = ("GET",),
        authenticated: bool = True,
    ) -> Route:
        """A route with what every call shares: key, rate limit, faults of `call`, error style."""

        async def serve(request: Request) -> Response:
            try:
                if authenticated and (refusal := self.authenticate(request)) is not None:
                    return refusal
                self.check_rate(request)
                fault = self.faults.take(call, **request.path_params)
                request.state.fault = fault
                return await answer(
                    request.scope, fault, lambda: self._styled(handler, request), self.shapes()
                )
            except ApiError as error:
                return error.response(self.switches["message_style"])

        return Route(path, serve, methods=list(methods))

    async def _styled(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as error:
            return error.response(self.switches["message_style"])

    def check_rate(self, request: Request) -> None:
        """Raise the 429 of the rate limit when it is reached."""
        create = request.method == "POST" and request.url.path.rstrip("/") == "/v2/generate"
        limit = self.switches["creates_per_minute" if create else "reads_per_minute"]
        wait = (self.creates if create else self.reads).take(limit)
        if wait is not None:
            raise self.rate_error(wait)

    def rate_error(self, wait: float) -> ApiError:
        """The 429 of the rate limit; `wait` in seconds."""
        code = "rate_limit_exceeded" if self.switches["rate_limit_error_code"] else None
        return ApiError(
            429,
            "Rate limit exceeded. Please try again later.",
            code,
            headers=self._retry_after(wait),
        )

    def concurrency_error(self, active: int, limit: int) -> ApiError:
        """The 429 for a create without a free slot."""
        return ApiError(
            429,
            "Concurrency limit reached. Please wait for a generation to finish.",
            "concurrency_limit_reached",
            headers=self._retry_after(10),
            activeGenerations=active,
            concurrencyLimit=limit,
            retryAfterSeconds=10,
            upgradeUrl="https://sync.so/billing",
        )

    def _retry_after(self, seconds: float) -> dict[str, str]:
        if not self.switches["retry_after_header"]:
            return {}
        return {"Retry-After": str(max(1, round(seconds)))}

    def shapes(self) -> dict[str, Callable[[Fault], Response]]:
        """The vendor's own bodies for faults of the transport."""
        style = self.switches["message_style"]

        def rate(fault: Fault) -> Response:
            response = self.rate_error(fault.number("retry_after", 1)).response(style)
            if "retry_after" in fault.params:
                response.headers["Retry-After"] = str(fault.params["retry_after"])
            return response

        def concurrency(fault: Fault) -> Response:
            limit = int(fault.number("limit", 1))
            error = self.concurrency_error(limit, limit)
            if "retry_after" in fault.params:
                error.members["retryAfterSeconds"] = fault.params["retry_after"]
            return error.response(style)

        return {"429_rate": rate, "429_concurrency": concurrency}


def iso(when: float) -> str:
    """A time as the vendor writes it: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return JSONResponse(body, status_code=status, headers=headers)
