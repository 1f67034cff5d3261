"""Prefect with a password, started, registered at and used as README says it."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pro_video.s3.storage import make_client
from sandbox.s3 import start_s3
from tests.gateway.gateways import free_port
from tests.support.commands import clean_environment, run_python, running_python
from tests.support.stack import READY_SECONDS, wait_until

pytestmark = pytest.mark.timeout(600)

README = Path(__file__).resolve().parents[2] / "README.md"
PASSWORD = "pro-video:c4n4ry-password"
ACCESS_KEY = "an-access-key"
SECRET_KEY = "c4n4ry-secret-key"


@dataclass(frozen=True)
class Protected:
    """A Prefect server with a password, and the environment of its clients."""

    url: str
    environment: dict[str, str]
    folder: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_python("-m", *command, env={**self.environment, **environment})

    def running(self, *command: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        log = self.folder / f"{command[0]}.log"
        return running_python("-m", *command, env=self.environment, log=log)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        user, _, password = PASSWORD.partition(":")
        url = f"{self.url}/api{path}"
        return httpx.request(
            method, url, auth=(user, password), timeout=20, trust_env=False, **options
        )


def exported(name: str) -> str:
    """The value that README exports."""
    (value,) = re.findall(rf"^export {name}=(\S+)", README.read_text(encoding="utf-8"), re.M)
    return str(value)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 server with the bucket."""
    folder = tmp_path_factory.mktemp("s3")
    with start_s3(folder, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as server:
        client = make_client(
            endpoint_url=server.url,
            region="eu-central-1",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
        client.create_bucket(Bucket="a-bucket")
        client.close()
        yield server.url


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Iterator[Protected]:
    folder = tmp_path_factory.mktemp("protected")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert exported("PREFECT_SERVER_API_AUTH_STRING").startswith('"pro-video:')
    common = {
        **clean_environment(),
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "DO_NOT_TRACK": "1",
    }
    server = {
        **common,
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": exported(
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
        ).replace("http://127.0.0.1:4200", url),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    client = {
        **common,
        "PREFECT_API_URL": exported("PREFECT_API_URL").replace("http://127.0.0.1:4200", url),
        "PREFECT_API_AUTH_STRING": PASSWORD,
        "PRO_VIDEO_S3_BUCKET": "a-bucket",
        "PRO_VIDEO_S3_REGION": "eu-central-1",
        "PRO_VIDEO_S3_ENDPOINT_URL": bucket,
        "PRO_VIDEO_S3_ACCESS_KEY": ACCESS_KEY,
        "PRO_VIDEO_S3_SECRET_KEY": SECRET_KEY,
        "PRO_VIDEO_SYNC_SO_API_KEY": "c4n4ry-api-key",
    }
    command = ("-m", "prefect", "server", "start", "--port", str(port))
    with running_python(*command, env=server, log=folder / "server.log") as process:

        def answers() -> bool:
            assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{url}/api/health", trust_env=False).status_code == 200
            return False

        wait_until(answers, READY_SECONDS, "Prefect answers")
        running = Protected(url, client, folder)
        done = running.run("deployments.register")
        assert done.returncode == 0, done.stderr
        assert "Registered pro-video/local" in done.stderr
        assert "c4n4ry" not in done.stdout + done.stderr
        yield running


def test_registration_without_it_and_the_command_line(protected: Protected) -> None:
    without = protected.run("deployments.register", PREFECT_API_AUTH_STRING="pro-video:wrong")
    assert without.returncode == 1
    assert "PREFECT_API_AUTH_STRING" in without.stderr
    assert "Traceback" not in without.stderr
    listed = protected.run("prefect", "deployment", "ls")
    assert listed.returncode == 0, listed.stderr
    assert "pro-video/local" in listed.stdout


def test_nobody_else_gets_the_keys(protected: Protected) -> None:
    path = "/block_documents/filter"
    body = {"include_secrets": True}
    own = protected.ask("POST", path, json=body, headers={"Origin": protected.url})
    assert "c4n4ry-api-key" in own.text
    assert own.headers["access-control-allow-origin"] == protected.url
    url = f"{protected.url}/api{path}"
    # Without the password, under a name of its own, and from a page elsewhere.
    for headers in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        answer = httpx.post(url, json=body, headers=headers, trust_env=False, timeout=20)
        assert answer.status_code == 401
        assert "c4n4ry" not in answer.text
        assert "access-control-allow-origin" not in answer.headers


def test_worker_and_gateway(protected: Protected) -> None:
    port = free_port()
    gateway = f"http://127.0.0.1:{port}"

    def online() -> bool:
        workers = protected.ask("POST", "/work_pools/pro-video/workers/filter", json={}).json()
        return any(worker["status"] == "ONLINE" for worker in workers)

    def reached() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{gateway}/readyz", timeout=20, trust_env=False)
            return bool(answer.json()["prefect"] == "ok")
        return False

    with (
        protected.running("prefect", "worker", "start", "--pool", "pro-video") as worker,
        protected.running("gateway", "--port", str(port)),
    ):
        wait_until(online, READY_SECONDS, "the worker is online")
        wait_until(reached, READY_SECONDS, "the gateway reaches Prefect")
        run_id = httpx.post(
            f"{gateway}/api/v1/jobs",
            json={
                "video": "https://example.invalid/clip.mp4",
                "audios": {"a": "https://example.invalid/a.wav"},
                "segments_data": [{"startTime": 0, "endTime": 1.5, "audioInput": {"refId": "a"}}],
            },
            timeout=20,
            trust_env=False,
        ).json()["job_id"]

        def is_taken() -> bool:
            state = protected.ask("GET", f"/flow_runs/{run_id}").json()["state"]
            return bool(state["type"] not in ("SCHEDULED", "PENDING"))

        wait_until(is_taken, READY_SECONDS, "the worker has begun with the job")
        assert worker.poll() is None
    assert PASSWORD not in "".join(path.read_text() for path in protected.folder.glob("*.log"))
