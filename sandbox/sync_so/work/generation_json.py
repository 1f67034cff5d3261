"""A generation as the API shows it."""

import time
from typing import Any

from sandbox.sync_so.emulator import ACTIVE, Emulator, Record
from sandbox.sync_so.rules.request import ECHOED

_OPTIONAL_OBJECTS = ("options", "segments")
_OPTIONAL = (
    "webhookUrl",
    "outputFileName",
    "projectId",
    "outputUrl",
    "segmentOutputUrl",
    "outputDuration",
    "error",
)


def view(emulator: Emulator, record: Record, base_url: str) -> dict[str, Any]:
    """The Generation object; every call makes fresh links."""
    body: dict[str, Any] = {
        "id": record["id"],
        "createdAt": record["createdAt"],
        "status": record["status"],
    }
    body.update({name: record["request"][name] for name in ECHOED if name in record["request"]})
    if record["status"] == "COMPLETED":
        body["outputUrl"] = result_url(emulator, record["id"], "output", base_url)
        body["outputDuration"] = record["result"]["duration"]
        if record["result"].get("segmented"):
            body["segmentOutputUrl"] = result_url(emulator, record["id"], "segments", base_url)
        if record["result"].get("synthesized"):
            body["synthesizedAudioUrl"] = result_url(emulator, record["id"], "speech", base_url)
    if record.get("error") is not None:
        body["error"] = record["error"]
    spelling = emulator.switches["error_code_spelling"]
    codes = [
        name
        for name, style in (("errorCode", "camel"), ("error_code", "snake"))
        if spelling in (style, "both")
    ]
    if record.get("errorCode") is not None:
        body.update(dict.fromkeys(codes, record["errorCode"]))
    _fill(body, codes, emulator.switches["absent_fields"])
    if record.get("extra_fields"):
        body.update({"vendorTrace": {"shard": 3}, "billing": None, "tags": []})
    return body


def _fill(body: dict[str, Any], codes: list[str], style: str) -> None:
    if style == "missing":
        return
    for name in (*_OPTIONAL, *codes):
        body.setdefault(name, None if style == "null" else "")
    for name in _OPTIONAL_OBJECTS:
        body.setdefault(name, None if style == "null" else {})
    if style == "empty_object":
        # Observed of an early example: text members as "" and object members as {}.
        body["outputDuration"] = body["outputDuration"] or None


def result_url(emulator: Emulator, id: str, name: str, base_url: str) -> str:
    """A signed link to a result file."""
    token = emulator.link_token(id, name)
    suffix = "" if name == "output" else f"&file={name}"
    return f"{base_url}/v2/generations/{id}/result?token={token}{suffix}"


def progress(record: Record, now: float | None = None) -> int:
    """Percent done: 0 while pending, below 100 until completed."""
    if record["status"] == "COMPLETED":
        return 100
    if record["status"] != "PROCESSING":
        return int(record.get("progress", 0)) if record["status"] not in ACTIVE else 0
    begun, end = record["processingAt"], record["doneAt"]
    share = ((now or time.time()) - begun) / max(end - begun, 1e-3)
    return int(min(99.0, max(0.0, 100.0 * share)))
