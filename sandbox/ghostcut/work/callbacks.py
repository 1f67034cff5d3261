"""Delivery of callbacks: signed rows, repeated until the receiver confirms one.

Source: vendor docs, "callback": one POST for each work that ends, `Callback-Sign` over the raw
body, confirmed only by HTTP 200 with a non-empty body, repeated every 30 minutes for works of the
last 24 hours. Assumed: the timeout, and that redirects are not followed.
"""

import asyncio
import logging
import time
from typing import Any

import httpx

from sandbox.common.faults import NO_FAULT
from sandbox.common.fetch import tls
from sandbox.common.json_text import dump
from sandbox.common.timing import scaled, sleep_until
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.signing import sign
from sandbox.ghostcut.work import works
from sandbox.ghostcut.work.inputs import RefusedAddressError, check_address
from sandbox.ghostcut.work.work_json import work_json
from sandbox.ghostcut.work.works import Work, is_running

logger = logging.getLogger(__name__)

MOST_COPIES = 20
SHORTEST_PAUSE = 0.05
_CHUNK = 65536


def resume(emulator: Emulator) -> None:
    """Continue the deliveries that were pending when the emulator stopped."""
    for key, entry in emulator.store.items("callback"):
        if entry["state"] == "pending":
            emulator.tasks.start(f"callback {key}", _deliver(emulator, key))


def start(emulator: Emulator, work: Work) -> None:
    """Deliver the callback of the run that has just ended, if the work has one."""
    if work["callback"]:
        key = _key(work)
        emulator.tasks.start(f"callback {key}", _deliver(emulator, key))


async def _deliver(emulator: Emulator, key: str) -> None:
    entry = emulator.store.get("callback", key)
    work = works.get(emulator, entry["work"]) if entry else None
    if entry is None or work is None:
        return
    facts = {"reference": work["name"], "work": str(work["id"])}
    fault = emulator.faults.take("callback", **facts) or NO_FAULT
    copies = 1
    if fault.kind == "duplicate":
        copies = max(1, min(int(fault.number("copies", 2)), MOST_COPIES))
    elif fault.kind == "delay":
        entry["next"] += fault.number("seconds", 5.0)
    elif fault.kind == "drop":
        entry["state"] = "dropped"
    forged = fault.kind == "wrong_signature"
    emulator.store.put("callback", key, entry)
    while entry["state"] == "pending":
        await sleep_until(entry["next"])
        await _try(emulator, entry, key, copies, forged)
        emulator.store.put("callback", key, entry)
        copies, forged = 1, False


async def _try(
    emulator: Emulator, entry: dict[str, Any], key: str, copies: int, forged: bool
) -> None:
    """Send the row as it is now, and note in `entry` how to continue."""
    work = works.get(emulator, entry["work"])
    if work is None or key != _key(work) or is_running(work):
        entry["state"] = "superseded"
        return
    delivered = False
    for _ in range(copies):
        try:
            delivered = await _post(emulator, work, forged) or delivered
        except Exception:
            # It counts as unconfirmed, so that the next one is sent.
            logger.exception("callback %s failed with an unexpected error", key)
        entry["attempts"] += 1
    switches = emulator.switches
    pause = scaled(switches, switches["callback_retry_minutes"] * 60)
    window = scaled(switches, switches["callback_window_hours"] * 3600)
    entry["next"] = time.time() + max(pause, SHORTEST_PAUSE)
    if delivered:
        entry["state"] = "delivered"
    elif entry["next"] > work["created"] + window:
        entry["state"] = "given up"


async def _post(emulator: Emulator, work: Work, forged: bool) -> bool:
    """Whether the receiver confirmed."""
    body = dump(work_json(work, emulator.switches, work["origin"]))
    secret = emulator.secret(work["account"]) or ""
    headers = {
        "Content-Type": "application/json",
        "Callback-Sign": sign(body, secret + "forged" if forged else secret),
    }
    timeout = float(emulator.switches["callback_timeout_seconds"])
    try:
        await check_address(work["callback"], allow_private=emulator.switches["allow_private"])
        async with (
            asyncio.timeout(timeout),
            httpx.AsyncClient(timeout=timeout, trust_env=False, verify=tls()) as client,
            client.stream("POST", work["callback"], content=body, headers=headers) as response,
        ):
            if response.status_code == 200:
                async for chunk in response.aiter_bytes(_CHUNK):
                    if chunk:
                        return True
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, RefusedAddressError):
        pass
    return False


def _key(work: Work) -> str:
    return f"{work['id']}:{work['run']}"
