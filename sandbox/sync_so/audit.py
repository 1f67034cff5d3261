"""The audit: accepted, billed and replayed requests, for tests that assert "paid exactly once"."""

from typing import Any

from sandbox.sync_so.emulator import GENERATION, Emulator, Record, iso
from sandbox.sync_so.rules.tables import MODELS


def audit(emulator: Emulator) -> dict[str, Any]:
    """Counts over the whole life of the data folder, and every generation, oldest first.

    `billed` counts the COMPLETED generations; `usd_billed` is their output frames at base price.
    """
    records = emulator.store.all(GENERATION)
    frames: dict[str, int] = {}
    for record in records:
        if record["billed"]:
            model = record["request"]["model"]
            frames[model] = frames.get(model, 0) + record["framesBilled"]
    usd = sum(count * MODELS[model].usd_per_frame for model, count in frames.items())
    replayed = emulator.store.counter("replayed", by=0)
    return {
        "accepted": len(records),
        "billed": sum(record["billed"] for record in records),
        "replayed": replayed,
        "duplicates_prevented": replayed,
        "idempotency_conflicts": emulator.store.counter("idempotency conflicts", by=0),
        "storage_requests_with_key": emulator.store.counter("storage requests with a key", by=0),
        "frames_billed": frames,
        "usd_billed": round(usd, 6),
        "jobs": [_job(record) for record in records],
    }


def _job(record: Record) -> dict[str, Any]:
    ended = record.get("endedAt")
    return {
        "id": record["id"],
        "reference": record["request"].get("outputFileName"),
        "idempotency_key": record["idempotencyKey"],
        "status": record["status"],
        "billed": record["billed"],
        "frames_billed": record["framesBilled"],
        "model": record["request"]["model"],
        "options": record["request"].get("options"),
        "error_code": record.get("errorCode"),
        "created_at": record["createdAt"],
        "ended_at": iso(ended) if ended is not None else None,
        "webhook": record.get("webhook"),
        "deleted": bool(record.get("deleted")),
    }
