"""Delivery of callbacks: signed rows, repeated until the receiver confirms one.

Source: vendor docs, "callback": one POST for each work that ends, `Callback-Sign` over the raw
body, confirmed only by HTTP 200 with a non-empty body, repeated every 30 minutes for works of the
last 24 hours. Not documented and assumed: the time-out, and that redirects are not followed.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

from sandbox.common.faults import FaultQueue
from sandbox.common.json_text import dump
from sandbox.common.store import Store
from sandbox.common.timing import Tasks, sleep_until
from sandbox.ghostcut.signing import sign
from sandbox.ghostcut.switches import Switches
from sandbox.ghostcut.work.inputs import RefusedAddressError, check_address
from sandbox.ghostcut.work.work_json import row
from sandbox.ghostcut.work.works import Work, WorkBook, is_running

logger = logging.getLogger(__name__)

KINDS = frozenset({"drop", "delay", "duplicate", "wrong_signature"})
"""Faults of a callback: not sent, sent late, sent `copies` times, signed with a wrong secret."""

MOST_COPIES = 20
SHORTEST_PAUSE = 0.05
_CHUNK = 65536


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
        # Made once: reading the certificates takes far longer than a call.
        self._tls = ssl.create_default_context()

    def resume(self) -> None:
        """Go on with the callbacks that were pending when the emulator stopped."""
        for key, body in self._store.items("callback"):
            if body["state"] == "pending":
                self._tasks.start(f"callback {key}", self._deliver(key))

    def start(self, work: Work) -> None:
        """Deliver the callback of the run that has just ended, if the work has one."""
        if work["callback"]:
            key = _key(work)
            self._tasks.start(f"callback {key}", self._deliver(key))

    async def _deliver(self, key: str) -> None:
        entry = self._store.get("callback", key)
        work = self._book.get(entry["work"]) if entry else None
        if entry is None or work is None:
            return
        fault = self._faults.take("callback", reference=work["name"], work=str(work["id"]))
        kind = fault.kind if fault else ""
        copies = 1
        if fault is not None and kind == "duplicate":
            copies = max(1, min(int(fault.number("copies", 2)), MOST_COPIES))
        elif fault is not None and kind == "delay":
            entry["next"] += fault.number("seconds", 5.0)
        elif kind == "drop":
            entry["state"] = "dropped"
        self._store.put("callback", key, entry)
        while entry["state"] == "pending":
            await sleep_until(entry["next"])
            await self._try(entry, key, copies, spoil=kind == "wrong_signature")
            self._store.put("callback", key, entry)
            copies, kind = 1, ""

    async def _try(self, entry: dict[str, Any], key: str, copies: int, *, spoil: bool) -> None:
        """Send the row as it is now, and decide in `entry` how to go on."""
        work = self._book.get(entry["work"])
        if work is None or key != _key(work) or is_running(work):
            entry["state"] = "superseded"
            return
        delivered = False
        for _ in range(copies):
            try:
                delivered = await self._post(work, spoil=spoil) or delivered
            except Exception:
                # It counts as not confirmed, so that the next one is sent.
                logger.exception("callback %s met an error that nobody expected", key)
            entry["attempts"] += 1
        pause = self._switches.scaled(self._switches.callback_retry_minutes * 60)
        window = self._switches.scaled(self._switches.callback_window_hours * 3600)
        entry["next"] = time.time() + max(pause, SHORTEST_PAUSE)
        if delivered:
            entry["state"] = "delivered"
        elif entry["next"] > work["created"] + window:
            entry["state"] = "given up"

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
                httpx.AsyncClient(timeout=timeout, trust_env=False, verify=self._tls) as client,
                client.stream("POST", work["callback"], content=body, headers=headers) as answer,
            ):
                return answer.status_code == 200 and await _has_content(answer)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, RefusedAddressError):
            return False


def _key(work: Work) -> str:
    return f"{work['id']}:{work['run']}"


async def _has_content(answer: httpx.Response) -> bool:
    async for chunk in answer.aiter_bytes(_CHUNK):
        if chunk:
            return True
    return False
