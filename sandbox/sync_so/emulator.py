"""The state that all calls share: generations, result links, switches, faults, secrets."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from starlette.requests import Request

from sandbox.common.faults import FaultQueue
from sandbox.common.media_pool import MediaPool
from sandbox.common.settings import SwitchBoard
from sandbox.common.store import Store
from sandbox.common.timing import Tasks
from sandbox.sync_so.faults import KNOWN_FAULTS
from sandbox.sync_so.rate_limit import RateLimit
from sandbox.sync_so.switches import SWITCHES

GENERATION = "generation"
ACTIVE = ("PENDING", "PROCESSING")

Record = dict[str, Any]


class Emulator:
    """One organisation at the vendor: its generations, assets, keys and switches."""

    def __init__(
        self,
        data_dir: Path,
        api_keys: Sequence[str],
        public_base_url: str | None,
        webhook_secret: str | None,
        pool: MediaPool,
    ) -> None:
        self.data_dir = data_dir
        self._api_keys = tuple(api_keys)
        self.public_base_url = public_base_url.rstrip("/") if public_base_url else None
        self.store = Store(data_dir / "sync_so.sqlite3")
        self.switches = SwitchBoard(self.store, SWITCHES)
        self.faults = FaultQueue(self.store, KNOWN_FAULTS)
        self.tasks = Tasks()
        self.pool = pool
        self.downloads = asyncio.Semaphore(4)
        self.creates = RateLimit()
        self.reads = RateLimit()
        # One lock per idempotency key, so that duplicates wait for the first.
        self.creating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._link_secret = self._secret("link", secrets.token_hex(32))
        kept = self._secret("webhook", f"whsec_{secrets.token_hex(24)}")
        self.webhook_secret = kept if webhook_secret is None else webhook_secret
        self._changed: dict[str, asyncio.Event] = {}

    def _secret(self, name: str, fresh: str) -> str:
        """A secret made once per data folder, so that links outlive a restart."""
        with self.store.transaction():
            known = self.store.get("secret", name)
            if known is None:
                self.store.put("secret", name, {"value": fresh})
                return fresh
            return str(known["value"])

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys that are accepted."""
        changed = self.switches["api_key"]
        return (changed,) if changed else self._api_keys

    # Generations

    def generation(self, id: str) -> Record | None:
        """The record of a generation, also of a deleted one."""
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
        """Return when the generation has ended, or after `seconds`."""
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

    def folder(self, id: str) -> Path:
        """The files of a generation."""
        return self.data_dir / "generations" / id

    # Links

    def base_url(self, request: Request) -> str:
        """Base of the links in a response: as configured, else the address that was called."""
        return self.public_base_url or str(request.base_url).rstrip("/")

    def link_token(self, id: str, name: str) -> str:
        """A new token for a result file: `<expiry>.<nonce>.<signature>`."""
        expiry = f"{time.time() + self.switches['link_seconds']:.3f}".replace(".", "-")
        nonce = secrets.token_hex(6)
        return f"{expiry}.{nonce}.{self._sign(id, name, expiry, nonce)}"

    def link_holds(self, id: str, name: str, token: str) -> bool:
        """Whether the token was made here for this file, has not expired and is not revoked."""
        expiry, _, rest = token.partition(".")
        nonce, _, signature = rest.partition(".")
        expected = self._sign(id, name, expiry, nonce)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return False
        if self.store.get("revoked", token) is not None:
            return False
        return time.time() < float(expiry.replace("-", "."))

    def _sign(self, *parts: str) -> str:
        message = "\n".join(parts).encode()
        return hmac.new(self._link_secret.encode(), message, hashlib.sha256).hexdigest()[:32]


def iso(when: float) -> str:
    """A time as the vendor writes it: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
