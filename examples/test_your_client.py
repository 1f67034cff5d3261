"""An emulator in a test of your own: a client of Sync.so against what goes wrong in earnest.

Usage: pytest examples. No server has to run, and no key is needed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.common.server import start_app
from sandbox.sync_so import create_app

# Nothing listens on port 9: the request is accepted, and its job fails without anything fetched.
REQUEST = {
    "model": "lipsync-2",
    "input": [
        {"type": "video", "url": "http://127.0.0.1:9/clip.mp4"},
        {"type": "audio", "url": "http://127.0.0.1:9/line.wav"},
    ],
}


def create(client: httpx.Client, headers: dict[str, str]) -> str:
    """Your client: it sends a second time when the answer to the first is lost."""
    try:
        answer = client.post("/v2/generate", json=REQUEST, headers=headers)
    except httpx.RemoteProtocolError:
        answer = client.post("/v2/generate", json=REQUEST, headers=headers)
    return str(answer.raise_for_status().json()["id"])


@pytest.fixture
def sync_so(tmp_path: Path) -> Iterator[httpx.Client]:
    """A Sync.so that accepts the first request and loses the answer to it."""
    lost: dict[str, Any] = {"call": "create", "kind": "drop_connection", "when": "after"}
    with (
        start_app(create_app(data_dir=tmp_path, api_key="a-key")) as server,
        httpx.Client(base_url=server.url, headers={"x-api-key": "a-key"}) as client,
    ):
        client.put("/_sandbox/faults", json={"faults": [lost]}).raise_for_status()
        yield client


@pytest.mark.parametrize(("headers", "accepted"), [({}, 2), ({"Idempotency-Key": "job-1"}, 1)])
def test_only_a_key_keeps_a_lost_answer_from_buying_twice(
    sync_so: httpx.Client, headers: dict[str, str], accepted: int
) -> None:
    generation = create(sync_so, headers)
    audit = sync_so.get("/_sandbox/audit").json()
    assert audit["accepted"] == accepted
    assert audit["jobs"][-1]["id"] == generation
