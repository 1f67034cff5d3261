"""A running emulator, and the calls that every test makes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sandbox.common.server import start_app
from sandbox.sync_so import create_app
from tests.sandbox.control import Control

KEY = "sk-test"
FPS = 25
CLIP_SECONDS = 2.0
Json = dict[str, Any]


def client(base_url: str = "", *, key: str | None = None) -> httpx.Client:
    """A client for the loopback: it loads no certificates, which takes longer than a test."""
    return httpx.Client(
        base_url=base_url,
        headers={"x-api-key": key} if key is not None else {},
        timeout=20,
        trust_env=False,
        verify=False,
    )


class Vendor(Control):
    """An emulator, seen by a client with its key."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self.http = client(url, key=KEY)

    def upload(self, path: Path, content_type: str) -> str:
        """Put a file into the vendor's storage; returns its address."""
        data = path.read_bytes()
        ticket = self.http.post(
            "/v2/assets/upload",
            json={"fileName": path.name, "contentType": content_type, "size": len(data)},
        )
        assert ticket.status_code == 201, ticket.text
        with client() as stranger:
            url = ticket.json()["uploadUrl"]
            put = stranger.put(url, content=data, headers={"Content-Type": content_type})
        assert put.status_code == 200, put.text
        return str(ticket.json()["url"])

    def create(self, body: Json, key: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return self.http.post("/v2/generate", json=body, headers=headers)

    def accepted(self, body: Json, key: str | None = None) -> str:
        answer = self.create(body, key)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def read(self, id: str, **query: Any) -> Json:
        answer = self.http.get(f"/v2/generate/{id}", params=query)
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    def until(self, id: str, *statuses: str) -> Json:
        """Read until the generation has one of the statuses."""
        deadline = time.monotonic() + 30
        while True:
            body = self.read(id)
            if body["status"] in statuses:
                return body
            assert time.monotonic() < deadline, body
            if body["status"] in ("COMPLETED", "FAILED", "REJECTED"):
                raise AssertionError(body)
            self.read(id, wait="true", timeout=1)


@contextmanager
def running(data_dir: Path, **options: Any) -> Iterator[Vendor]:
    """An emulator in a thread."""
    app = create_app(data_dir=data_dir, api_key=KEY, **options)
    with start_app(app) as server:
        vendor = Vendor(server.url, data_dir)
        with vendor.http:
            yield vendor


def whole_clip(video: str, audio: str, **more: Any) -> Json:
    """A create for the whole clip."""
    return {
        "model": "lipsync-2",
        "input": [{"type": "video", "url": video}, {"type": "audio", "url": audio}],
        **more,
    }


def one_segment(video: str, audio: str, **more: Any) -> Json:
    """A create with the range 0.4 to 1.2 s."""
    return {
        "model": "lipsync-2",
        "input": [
            {"type": "video", "url": video},
            {"type": "audio", "url": audio, "refId": "line-1"},
        ],
        "segments": [{"startTime": 0.4, "endTime": 1.2, "audioInput": {"refId": "line-1"}}],
        **more,
    }
