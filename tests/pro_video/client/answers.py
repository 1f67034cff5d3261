"""Answers of the API, for scripted servers."""

from __future__ import annotations

import json
from typing import Any

JOB = "0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a"
PATH = f"/api/v1/jobs/{JOB}"
_URLS = {"status_url": PATH, "events_url": f"{PATH}/events", "cancel_url": f"{PATH}/cancel"}
CREATED = {
    "job_id": JOB,
    "status": "processing",
    "message": "Pro video job created",
    "segments_count": 1,
    **_URLS,
}


def job(status: str = "processing", **fields: Any) -> dict[str, Any]:
    """The view of a job."""
    return {
        "job_id": JOB,
        "status": status,
        "progress": 100 if status == "completed" else 20,
        "message": "A message.",
        "stage": "lip-sync processing" if status == "processing" else None,
        "created_at": "2026-01-01T12:00:00Z",
        "segments_count": 1,
        "segments_data": [],
        "metadata": {},
        "of_a_later_api": 1,
        **_URLS,
        **fields,
    }


def event(name: str, status: str = "processing", progress: int = 20) -> bytes:
    """A server-sent event with this id."""
    data: dict[str, Any] = {
        "job_id": JOB,
        "status": status,
        "stage": "lip-sync processing" if status == "processing" else None,
        "progress": progress,
        "message": "A message.",
        "warnings": [],
        "rejected_key": None,
        "fallback_key": None,
        "timestamp": "2026-01-01T12:00:00Z",
    }
    return f": still here\n\nid: {name}\ndata: {json.dumps(data)}\n\n".encode()


def problem(status: int, code: str, **fields: Any) -> dict[str, Any]:
    """A problem document."""
    document = {"type": f"/problems/{code}", "title": "", "status": status, "code": code}
    return document | {"detail": "A detail.", "request_id": "r-1", "errors": [], **fields}


def estimate(within: bool | None = None) -> dict[str, Any]:
    """A price."""
    stage = {"stage": "lip-sync", "provider": "Sync.so", "basis": "A basis."}
    prices = {"low_usd": "0.10", "high_usd": "0.60"}
    return {
        **prices,
        "stages": [{**stage, **prices}],
        "video_seconds": 10.0,
        "within_max_cost": within,
        "warnings": [],
    }


def upload(url: str, *missing: int, size: int = 10, part_size: int = 4) -> dict[str, Any]:
    """An upload of ten bytes with these missing parts, whose links lead to ``url``."""
    path = "/api/v1/uploads/u1"
    return {
        "upload_id": "u1",
        "source": "upload:u1",
        "status": "open" if missing else "complete",
        "size": size,
        "part_size": part_size,
        "expires_at": "2026-01-02T12:00:00Z",
        "parts": [
            {
                "number": number,
                "size": min(part_size, size - (number - 1) * part_size),
                "url": f"{url}/part/{number}?X-Amz-Signature=secret",
            }
            for number in missing
        ],
        "complete_url": f"{path}/complete",
        "abort_url": path,
    }
