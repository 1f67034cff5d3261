"""A generation as the API shows it."""

import time
from typing import Any

from sandbox.sync_so.emulator import Emulator, Record
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


def generation_json(emulator: Emulator, record: Record, base_url: str) -> dict[str, Any]:
    """The Generation object, with new links each time."""
    body: dict[str, Any] = {name: record[name] for name in ("id", "createdAt", "status")}
    body.update({name: record["request"][name] for name in ECHOED if name in record["request"]})
    if record["status"] == "COMPLETED":
        result = record["result"]
        body["outputUrl"] = result_url(emulator, record["id"], "output", base_url)
        body["outputDuration"] = result["duration"]
        if result.get("segmented"):
            body["segmentOutputUrl"] = result_url(emulator, record["id"], "segments", base_url)
        if result.get("synthesized"):
            body["synthesizedAudioUrl"] = result_url(emulator, record["id"], "speech", base_url)
    if record.get("error") is not None:
        body["error"] = record["error"]
    codes = {"camel": ["errorCode"], "snake": ["error_code"], "both": ["errorCode", "error_code"]}[
        emulator.switches["error_code_spelling"]
    ]
    if record.get("errorCode") is not None:
        body.update(dict.fromkeys(codes, record["errorCode"]))
    style = emulator.switches["absent_fields"]
    if style != "missing":
        for name in (*_OPTIONAL, *codes):
            body.setdefault(name, None if style == "null" else "")
        for name in _OPTIONAL_OBJECTS:
            body.setdefault(name, None if style == "null" else {})
        # Seen in an early example: "" for text, {} for objects, null for the number.
        body["outputDuration"] = body["outputDuration"] or None
    if record.get("extra_fields"):
        body.update({"vendorTrace": {"shard": 3}, "billing": None, "tags": []})
    return body


def result_url(emulator: Emulator, id: str, name: str, base_url: str) -> str:
    """A signed link to a result file."""
    token = emulator.link_token(id, name)
    suffix = "" if name == "output" else f"&file={name}"
    return f"{base_url}/v2/generations/{id}/result?token={token}{suffix}"


def progress(record: Record) -> int:
    """Percent done: below 100 until completed, 0 while pending and after a failure."""
    if record["status"] == "COMPLETED":
        return 100
    if record["status"] != "PROCESSING":
        return 0
    begun, due = record["processingAt"], record["doneAt"]
    share = (time.time() - begun) / max(due - begun, 1e-3)
    return int(min(99.0, max(0.0, 100.0 * share)))
