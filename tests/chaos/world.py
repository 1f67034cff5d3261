"""The servers that the suite's jobs run against, each a process that can be killed and started
again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from deployments.local.stack import BUCKET, REGION, Stack, free_port_base, open_stack

SERVERS = ("prefect", "s3", "sync-so", "ghostcut")
"""Names of the servers that answer over HTTP, as the sandbox and the local stack call them."""

ORPHAN_SEARCH_SECONDS = 2.0
"""How long the jobs look for a lost text removal; the emulator's listing does not lag."""

_START_SECONDS = 400.0
_PACE = {
    "PRO_VIDEO_POLL_SECONDS": "0.5",
    "PRO_VIDEO_ORPHAN_SEARCH_SECONDS": str(ORPHAN_SEARCH_SECONDS),
    "PRO_VIDEO_WORKER_CANCEL_POLL_SECONDS": "5",
    "PRO_VIDEO_WORKER_GRACE_SECONDS": "5",
    # The files of the workers hold the logs; the server need not store them too.
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # A server whose clients are killed loses an answer now and then; it is asked again after this.
    "PREFECT_API_REQUEST_TIMEOUT": "10",
    # Less work for Prefect: nobody looks at past events, and nothing is scheduled by the clock.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    # A service that writes with every event makes SQLite refuse other writes, which clients repeat
    # seconds later. Without automations the workers find lost jobs by themselves, only later; task
    # runs are for people to look at.
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
}


class NotInTime(Exception):
    """Something that had to happen did not; the message names it."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition.

    Raises:
        NotInTime: not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


class World:
    """Prefect, S3, Sync.so and GhostCut on loopback, with a folder of their own.

    Args:
        folder: for data and logs.
        port_base: first of four ports; a free run of ports when None.
        pool: work pool and name of the deployment of the suite's jobs, for servers that are shared
            with others.
    """

    def __init__(
        self, folder: Path, port_base: int | None = None, *, pool: str = "pro-video"
    ) -> None:
        self.pool = pool
        folder.mkdir(parents=True, exist_ok=True)
        self.stack: Stack = open_stack(folder, port_base or free_port_base())
        self.folder = self.stack.folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(timeout=30.0, trust_env=False)

    def environment(self) -> dict[str, str]:
        """For every process of the suite, without what the caller's shell may have set."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "PRO_VIDEO_", "SANDBOX_"))
        }
        return {**kept, **self.stack.environment(), **_PACE}

    def start(self) -> None:
        """Start all servers and make them usable."""
        for name in ("postgres", *SERVERS):
            if name in self.stack.commands():
                self.launch(name)
        for name in SERVERS:
            self.await_server(name)
        s3 = self.s3()
        s3.create_bucket(Bucket=BUCKET)
        s3.close()
        self.run_module("deployments.register")
        self.settings(seconds_per_job=0.3)

    def own_deployment(self) -> str:
        """The id of the deployment whose runs go to this world's pool; made when it is missing."""
        found = self.api("GET", "/deployments/name/pro-video/local")
        if self.pool == found["work_pool_name"]:
            return str(found["id"])
        shared = self.api("GET", f"/work_pools/{found['work_pool_name']}")
        self.api(
            "POST",
            "/work_pools/",
            {
                "name": self.pool,
                "type": shared["type"],
                "base_job_template": shared["base_job_template"],
            },
        )
        made = self.api(
            "POST",
            "/deployments/",
            {
                "name": self.pool,
                "flow_id": found["flow_id"],
                "entrypoint": found["entrypoint"],
                "parameter_openapi_schema": found["parameter_openapi_schema"],
                "work_pool_name": self.pool,
                "pull_steps": [],
            },
        )
        return str(made["id"])

    def run_module(self, module: str, *arguments: str, **environment: str) -> None:
        """Run a command of the project to its end, with these variables besides its own."""
        with self.log(module).open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", module, *arguments],
                env={**self.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
                timeout=_START_SECONDS,
            )

    def log(self, name: str) -> Path:
        """The file with the output of a process."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        return logs / f"{name}.log"

    def launch(self, name: str) -> None:
        """Start a server; :meth:`await_server` says when it answers."""
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self.stack.commands()[name],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own, so that a kill takes its helpers along.
                start_new_session=True,
            )

    def await_server(self, name: str) -> None:
        """Wait until a server answers."""
        wait_until(lambda: self._answers(name), _START_SECONDS, f"{name} answers")

    def kill(self, name: str) -> None:
        """SIGKILL a server and all that belongs to it."""
        kill_group(self._processes.pop(name))

    def stop(self) -> None:
        """End everything."""
        for name in list(self._processes):
            self.kill(name)
        self.close()

    def close(self) -> None:
        """Let go of the servers, which go on."""
        self._http.close()

    def url(self, name: str) -> str:
        services = {"prefect": "Prefect", "s3": "S3", "sync-so": "Sync.so", "ghostcut": "GhostCut"}
        return self.stack.url(services[name])

    def _answers(self, name: str) -> bool:
        path = "/api/health" if name == "prefect" else "/_sandbox/health"
        try:
            return self._http.get(self.url(name) + path).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def control(self, name: str, what: str, content: dict[str, Any] | None = None) -> Any:
        """One call of a sandbox server's control API: PUT with content, else GET."""
        return self._control("GET" if content is None else "PUT", name, what, content)

    def add_faults(self, name: str, faults: list[dict[str, Any]]) -> None:
        """Plan faults behind those that are planned already."""
        self._control("POST", name, "faults", {"faults": faults})

    def _control(self, method: str, name: str, what: str, content: dict[str, Any] | None) -> Any:
        url = f"{self.url(name)}/_sandbox/{what}"
        answer = self._http.request(method, url, json=content)
        answer.raise_for_status()
        return answer.json()

    def settings(self, **switches: Any) -> None:
        """Set switches of both emulators."""
        for name in ("sync-so", "ghostcut"):
            self.control(name, "settings", switches)

    def api(self, method: str, path: str, content: Any = None) -> Any:
        """One call of Prefect's API, repeated while the server is busy or away."""
        deadline = time.monotonic() + 90
        while True:
            try:
                answer = self._http.request(method, self.stack.prefect_api_url + path, json=content)
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    answer.raise_for_status()
                    return answer.json() if answer.content else None
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise NotInTime(f"Prefect does not answer {path}")
            time.sleep(0.5)

    def s3(self) -> Any:
        """A client of the S3 server."""
        return boto3.client(
            "s3",
            endpoint_url=self.url("s3"),
            aws_access_key_id=self.stack.keys.s3_access_key,
            aws_secret_access_key=self.stack.keys.s3_secret_key,
            region_name=REGION,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"max_attempts": 8, "mode": "standard"},
            ),
        )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process with its group, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait(30)
    if process.stdin is not None:
        process.stdin.close()


@contextlib.contextmanager
def running_world(folder: Path, port_base: int | None = None) -> Iterator[World]:
    """A world that runs while the block does; nothing of it stays behind."""
    world = World(folder, port_base)
    try:
        world.start()
        yield world
    finally:
        world.stop()
