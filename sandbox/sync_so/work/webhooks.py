"""Webhooks: one signed attempt at the end of a generation, never repeated."""

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import httpx

from sandbox.common.faults import Fault
from sandbox.common.fetch import tls
from sandbox.sync_so.emulator import Emulator, Record
from sandbox.sync_so.work.generation_json import view

TIMEOUT = 10.0
STALE_SECONDS = 3600
_MEMBERS = (
    "id",
    "status",
    "createdAt",
    "model",
    "input",
    "options",
    "outputUrl",
    "outputDuration",
    "segmentOutputUrl",
    "webhookUrl",
    "error",
)


def sign(secret: str, body: bytes, when: int) -> str:
    """The value of `Sync-Signature`: HMAC-SHA256 of `<when>.<body>` under the whole secret."""
    digest = hmac.new(secret.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={when},v1={digest}"


async def deliver(emulator: Emulator, record: Record) -> None:
    """Announce a terminal generation, if it asked for that and its status is announced."""
    url = record["request"].get("webhookUrl")
    announced = record["status"] in ("COMPLETED", "FAILED") or (
        record["status"] == "REJECTED" and emulator.switches["webhook_rejected"]
    )
    if url is None or not announced or not emulator.switches["webhooks"]:
        return
    fault = emulator.faults.take(
        "webhook",
        id=record["id"],
        status=record["status"],
        reference=record["request"].get("outputFileName"),
    )
    kind = fault.kind if fault is not None else ""
    if kind == "drop":
        _note(emulator, record, "dropped")
        return
    if fault is not None and kind == "delay":
        await asyncio.sleep(fault.number("seconds", 1.0))
    body, signature = _message(emulator, record, fault)
    outcome = ""
    for _ in range(2 if kind == "duplicate" else 1):
        outcome = await _post(url, body, signature)
    _note(emulator, record, outcome)


def _message(emulator: Emulator, record: Record, fault: Fault | None) -> tuple[bytes, str]:
    kind = fault.kind if fault is not None else ""
    shown = view(emulator, record, record["baseUrl"])
    payload: dict[str, Any] = {name: shown[name] for name in _MEMBERS if name in shown}
    if record["errorCode"] is not None:
        payload["error_code"] = record["errorCode"]
    if kind == "empty_error":
        payload.update(error="", error_code="")
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    when = int(time.time()) - (STALE_SECONDS if kind == "stale" else 0)
    secret = "whsec_wrong" if kind == "wrong_signature" else emulator.webhook_secret
    return body, sign(secret, body, when)


async def _post(url: str, body: bytes, signature: str) -> str:
    headers = {"Content-Type": "application/json", "Sync-Signature": signature}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=tls()) as client:
            answer = await client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return str(answer.status_code)


def _note(emulator: Emulator, record: Record, outcome: str) -> None:
    emulator.change(record["id"], webhook=outcome)
