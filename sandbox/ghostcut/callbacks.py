"""Delivery of callbacks: signed rows, repeated until the receiver confirms one.

Source: vendor docs, "callback": one POST for each work that ends, `Callback-Sign` over the raw
body, confirmed only by HTTP 200 with a non-empty body, repeated every 30 minutes for works of the
last 24 hours. Not documented and assumed: the time-out, and that redirects are not followed.
"""

import asyncio
import time
from collections.abc import Mapping

import httpx

from sandbox.ghostcut.jsontext import dump
from sandbox.ghostcut.rows import row
from sandbox.ghostcut.signing import sign
from sandbox.ghostcut.source import RefusedAddressError, check_address
from sandbox.ghostcut.switches import Switches
from sandbox.ghostcut.works import Work, WorkBook
from sandbox.kit.faults import FaultQueue
from sandbox.kit.store import Store
from sandbox.kit.timing import Tasks, sleep_until

KINDS = frozenset({"lost", "duplicate", "late", "bad_signature"})
_ENOUGH = 65536


class Callbacks:
    """Every callback that is still to be delivered; what is pending survives a restart."""

    def __init__(
        self,
        store: Store,
        book: WorkBook,
        faults: FaultQueue,
        switches: Switches,
        tasks: Tasks,
        secrets: Mapping[str, str],
    ) -> None:
        self._store = store
        self._book = book
        self._faults = faults
        self._switches = switches
        self._tasks = tasks
        self._secrets = secrets

    def resume(self) -> None:
        """Go on with the callbacks that were pending when the emulator stopped."""
        for key, body in self._store.items("callback"):
            if body["state"] == "pending":
                self._tasks.start(f"callback {key}", self._deliver(key))

    def start(self, work: Work) -> None:
        """Deliver the callback of the run that has just ended, if the work has one."""
        if work["callback"]:
            key = f"{work['id']}:{work['run']}"
            self._tasks.start(f"callback {key}", self._deliver(key))

    async def _deliver(self, key: str) -> None:
        entry = self._store.get("callback", key)
        work = self._book.get(entry["work"]) if entry else None
        if entry is None or work is None:
            return
        fault = self._faults.take("callback", reference=work["name"], work=str(work["id"]))
        kind = fault.kind if fault else ""
        if fault is not None and kind == "late":
            entry["next"] += fault.number("seconds", 5.0)
        if kind == "lost":
            self._store.put("callback", key, {**entry, "state": "lost"})
            return
        copies = int(fault.number("copies", 2)) if fault and kind == "duplicate" else 1
        while True:
            await sleep_until(entry["next"])
            # Read anew: what is sent is the row as it is at this moment, as with late retries.
            work = self._book.get(entry["work"])
            if work is None:
                return
            for _ in range(max(1, min(copies, 20))):
                delivered = await self._post(work, spoil=kind == "bad_signature")
                entry["attempts"] += 1
            copies, kind = 1, ""
            entry["next"] = time.time() + self._switches.scaled(
                self._switches.callback_retry_minutes * 60
            )
            window = self._switches.scaled(self._switches.callback_window_hours * 3600)
            if delivered:
                entry["state"] = "delivered"
            elif entry["next"] > work["created"] + window:
                entry["state"] = "given up"
            self._store.put("callback", key, entry)
            if entry["state"] != "pending":
                return

    async def _post(self, work: Work, *, spoil: bool) -> bool:
        body = dump(row(work, self._switches, origin=work["origin"]))
        secret = self._secrets.get(work["account"], "")
        headers = {
            "Content-Type": "application/json",
            "Callback-Sign": sign(body, secret + "spoilt" if spoil else secret),
        }
        timeout = float(self._switches.callback_timeout_seconds)
        try:
            await check_address(work["callback"], allow_private=self._switches.allow_private)
            async with (
                asyncio.timeout(timeout),
                httpx.AsyncClient(timeout=timeout, trust_env=False) as client,
                client.stream("POST", work["callback"], content=body, headers=headers) as answer,
            ):
                return answer.status_code == 200 and await _has_content(answer)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, RefusedAddressError):
            return False


async def _has_content(answer: httpx.Response) -> bool:
    async for chunk in answer.aiter_bytes(_ENOUGH):
        if chunk:
            return True
    return False
