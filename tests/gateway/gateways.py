"""Common parts of the gateway's tests: a running gateway, forms, and access to its storage."""

from __future__ import annotations

import contextlib
import contextvars
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from prefect.settings import PREFECT_API_URL, temporary_settings

from gateway.app.app import create_app
from gateway.app.server import server_config
from gateway.base.settings import GatewaySettings
from pro_video.s3.storage import Storage
from tests.gateway.relay import Relay, relaying

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "gateway-bucket"
REGION = "us-east-1"
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
TOKENS = "tokens-of-two"
FORM = "/api/v1/video-editors/pro-sync-process"
JOBS = "/api/v1/jobs"
UPLOADS = "/api/v1/uploads"

SEGMENTS = [
    {"startTime": 0, "endTime": 1.5, "audioInput": {"refId": "a"}, "label": "one"},
    {"startTime": 2, "endTime": 3, "audioInput": {"refId": "b"}},
    {"startTime": 4, "endTime": 5, "audioInput": {"refId": "a"}},
]
EFFECTS = [
    {
        "type": "erasure",
        "startTime": 0,
        "endTime": 2,
        "region": {"x": 0.1, "y": 0.8, "width": 0.5, "height": 0.1},
    }
]


@dataclass(frozen=True)
class Upstream:
    """The servers behind a gateway: Prefect and S3."""

    prefect_api_url: str
    storage: Storage
    s3: S3Client

    def keys(self, prefix: str) -> list[str]:
        """The objects below a prefix."""
        answer = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def unfinished(self, prefix: str) -> list[str]:
        """The unfinished multipart uploads below a prefix."""
        answer = self.s3.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Uploads", [])]

    def traces(self, prefix: str) -> tuple[list[str], list[str]]:
        """Objects and unfinished uploads below a prefix; other tests have some of their own."""
        return self.keys(prefix), sorted(self.unfinished(prefix))

    def content(self, key: str) -> bytes:
        """An object."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def prefect(self, method: str, path: str, json: Any = None) -> Any:
        """A call of Prefect's API, again while its database is busy."""
        deadline = time.monotonic() + 30
        while True:
            answer = httpx.request(
                method, f"{self.prefect_api_url}{path}", json=json, timeout=20, trust_env=False
            )
            if answer.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def run(self, job_id: str) -> Any:
        """A flow run."""
        return self.prefect("GET", f"/flow_runs/{job_id}")

    def set_state(self, job_id: str, kind: str, name: str, message: str | None = None) -> None:
        """Put a run into a state, as a worker does."""
        state = {"type": kind, "name": name, "message": message}
        self.prefect("POST", f"/flow_runs/{job_id}/set_state", json={"state": state, "force": True})

    def count_runs(self, owner: str, *states: str) -> int:
        """Runs of an owner, in any of these states if there are some."""
        filters: dict[str, Any] = {"tags": {"all_": [f"owner:{owner}"]}}
        if states:
            filters["state"] = {"type": {"any_": states}}
        return int(self.prefect("POST", "/flow_runs/count", json={"flow_runs": filters}))


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    url: str
    upstream: Upstream
    relay: Relay | None = None

    def client(self, token: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client of it; close it."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=30, trust_env=False, **options
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for sockets."""
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port


def free_port() -> int:
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        time.sleep(0.02)


def json_job(**fields: Any) -> dict[str, Any]:
    """A JSON request for a job."""
    return {
        "video": "https://example.com/clip.mp4",
        "audios": {"a": "https://example.com/a.wav"},
        "segments_data": [{"startTime": 0, "endTime": 1.5, "audioInput": {"refId": "a"}}],
        **fields,
    }


def key_of(address: str) -> str:
    """The key of an address in the bucket."""
    return address.removeprefix(f"s3://{BUCKET}/")


@contextlib.contextmanager
def serving(
    upstream: Upstream, *, through_relay: bool = False, **settings: Any
) -> Iterator[Gateway]:
    """Run a gateway in a thread; ``through_relay`` lets Prefect be cut off."""
    with contextlib.ExitStack() as stack:
        relay = None
        if through_relay:
            port = httpx.URL(upstream.prefect_api_url).port
            assert port is not None
            relay = stack.enter_context(relaying(port))
            url = upstream.prefect_api_url.replace(str(port), str(relay.port))
            stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        yield Gateway(stack.enter_context(_serving(settings)), upstream, relay)


@contextlib.contextmanager
def _serving(settings: dict[str, Any]) -> Iterator[str]:
    # Each has tokens of its own, and none unless a test makes some.
    defaults: dict[str, Any] = {
        "token_block": f"tokens-{secrets.token_hex(4)}",
        "jobs_in_flight": 10_000,
        "requests_per_second": 10_000,
        "request_burst": 10_000,
        "open_uploads": 10_000,
        # On a busy machine many forms wait long for those before them.
        "form_queue_seconds": 60.0,
    }
    chosen = GatewaySettings(**{**defaults, **settings})
    config = server_config(create_app(chosen), chosen, host="127.0.0.1", port=0)
    server = uvicorn.Server(config)
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(server.run), daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), 30)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def form(
    *,
    video: bytes = b"v" * 1000,
    audios: tuple[bytes, ...] = (b"a" * 100, b"b" * 100),
    segments: object = SEGMENTS,
    effects: object = EFFECTS,
    display_name: str = "Test",
) -> dict[str, Any]:
    """Arguments of httpx for the editor's form."""
    data = {"segments_data": json.dumps(segments), "display_name": display_name}
    if effects is not None:
        data["effects"] = json.dumps(effects)
    return {
        "data": data,
        "files": [
            ("file", ("clip.mp4", video, "video/mp4")),
            *(
                ("audio_files", (f"line-{number}.wav", audio, "audio/wav"))
                for number, audio in enumerate(audios)
            ),
        ],
    }
