"""Webhooks: one signed attempt at the end of a generation, without a repeat."""

import asyncio
import hashlib
import hmac
import time
from typing import Any

import httpx

from sandbox.common.faults import NO_FAULT, Fault
from sandbox.common.fetch import tls
from sandbox.common.json_text import dump
from sandbox.sync_so.emulator import Emulator, Record
from sandbox.sync_so.work.generation_json import generation_json

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
    """Announce the end of a generation whose request has a `webhookUrl`; keep the outcome."""
    url = record["request"].get("webhookUrl")
    announced = record["status"] in ("COMPLETED", "FAILED") or (
        record["status"] == "REJECTED" and emulator.switches["webhook_rejected"]
    )
    if url is None or not announced or not emulator.switches["webhooks"]:
        return
    facts = {"id": record["id"], "status": record["status"]}
    reference = record["request"].get("outputFileName")
    fault = emulator.faults.take("webhook", **facts, reference=reference) or NO_FAULT
    outcome = "dropped"
    if fault.kind == "delay":
        await asyncio.sleep(fault.number("seconds", 1.0))
    if fault.kind != "drop":
        body, signature = _message(emulator, record, fault)
        for _ in range(2 if fault.kind == "duplicate" else 1):
            outcome = await _post(url, body, signature)
    emulator.change(record["id"], webhook=outcome)


def _message(emulator: Emulator, record: Record, fault: Fault) -> tuple[bytes, str]:
    shown = generation_json(emulator, record, record["baseUrl"])
    payload: dict[str, Any] = {name: shown[name] for name in _MEMBERS if name in shown}
    if record["errorCode"] is not None:
        payload["error_code"] = record["errorCode"]
    if fault.kind == "empty_error":
        payload.update(error="", error_code="")
    body = dump(payload)
    when = int(time.time()) - (STALE_SECONDS if fault.kind == "stale" else 0)
    secret = "whsec_wrong" if fault.kind == "wrong_signature" else emulator.webhook_secret
    return body, sign(secret, body, when)


async def _post(url: str, body: bytes, signature: str) -> str:
    """The status of the response as text, or the name of the error."""
    headers = {"Content-Type": "application/json", "Sync-Signature": signature}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=tls()) as client:
            response = await client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return str(response.status_code)
