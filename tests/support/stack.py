"""A local stack in processes of its own, as ``python -m deployments.local.up`` starts it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from deployments.local.running import StackNotReady, StackProcess
from deployments.local.stack import open_stack

# Also where ten other programs want each processor.
READY_SECONDS = 480.0
STOP_SECONDS = 60.0

PACE = {
    # A listing of the emulator does not lag; a short search still has to look twice.
    "PRO_VIDEO_ORPHAN_SEARCH_SECONDS": "2",
    # A worker notices a cancelled run at once.
    "PRO_VIDEO_WORKER_CANCEL_POLL_SECONDS": "0.3",
}
"""Settings that make the stack quick enough for tests; nothing of its behaviour changes."""


def wait_until(
    condition: Callable[[], bool], seconds: float, what: str, *, pause: float = 0.05
) -> None:
    """Wait for a condition, at most ``seconds``; ``what`` names it in the failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(pause)


def processes_with(name: str, value: str) -> list[int]:
    """Living processes whose environment holds ``name=value``; every child inherits it.

    Needs ``/proc``; elsewhere the list is empty and freed ports are the only evidence.
    """
    marker = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # Processes end while they are looked at, and others' may not be read.
        with contextlib.suppress(OSError):
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def own_port_base(folder: Path) -> int:
    """A free run of ports for a stack; test runs that begin together choose different ones."""
    for base in random.sample(range(14200, 32000, 20), 200):
        if not open_stack(folder, base).taken_ports():
            return base
    raise AssertionError("no run of free ports was found on this machine")


def foreign_directory(folder: Path) -> Path:
    """Make ``folder`` the directory of another project, whose packages have the names of ours."""
    for name in ("deployments", "flows", "gateway", "pro_video", "sandbox", "tasks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        text = f'raise ImportError("{name} of the working directory was imported")\n'
        (folder / name / "__init__.py").write_text(text, encoding="utf-8")
    return folder


class LocalStack:
    """One stack; its description is what ``stack.json`` says.

    Attributes:
        directory: its working directory, in which no module of ours must be looked for.
    """

    def __init__(self, folder: Path, *, port_base: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port_base = port_base or own_port_base(self.folder)
        self.log = self.folder.parent / f"{self.folder.name}.log"
        self.description: dict[str, Any] = {}
        self.directory = foreign_directory(self.folder.parent / f"{self.folder.name}-directory")
        self._command = StackProcess(self.folder, self.port_base, directory=self.directory)
        # Read once: pytest changes its own environment for each test, while stories run beside it.
        self._around = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "PRO_VIDEO_", "SANDBOX_", "PYTEST_"))
        }

    def environment(self) -> dict[str, str]:
        """Environment for the command, without what a developer's shell may have set."""
        return {
            **self._around,
            **PACE,
            "PRO_VIDEO_PORT_BASE": str(self.port_base),
            "PRO_VIDEO_GATEWAY_CORS_ORIGINS": json.dumps([self.page_origin]),
        }

    @property
    def page_origin(self) -> str:
        """Where a page of another origin may be that uses the gateway."""
        return f"http://127.0.0.1:{self.port_base + 9}"

    def launch(self, **environment: str) -> None:
        """Start the command, without waiting for anything."""
        with self.log.open("ab") as log:
            self._command.launch(output=log, environment={**self.environment(), **environment})

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        try:
            self.description = self._command.wait_until_ready(READY_SECONDS)
        except StackNotReady as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.tail()}") from None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The command's process."""
        return self._command.process

    def tail(self) -> str:
        """The ends of what the stack and its processes have written."""
        logs = [self.log, *sorted((self.folder / "logs").glob("*.log"))]
        return "\n".join(
            f"{log}:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}" for log in logs
        )

    def members(self) -> list[int]:
        """Its living processes, the command itself left out."""
        return processes_with("PREFECT_HOME", str(self.folder / "prefect"))

    def stop(self, order: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return the command's exit status; whatever is left over is a failure."""
        try:
            status = self._command.stop(order, seconds=STOP_SECONDS)
            wait_until(lambda: not self.members(), 10, "no process of the stack is left")
        finally:
            for pid in self.members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return status

    def kill(self) -> None:
        """SIGKILL everything that belongs to it at once, as a machine does that runs out of memory
        or power."""
        for pid in (self.process.pid, *self.members()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        wait_until(lambda: not self.members(), 10, "no process of the stack is left")

    # Parts of the stack

    @property
    def api_url(self) -> str:
        return str(self.description["prefect_api_url"])

    @property
    def bucket(self) -> str:
        return str(self.description["s3"]["bucket"])

    def base_url(self, provider: str) -> str:
        """Address of an emulator: ``sync_so`` or ``ghostcut``."""
        return str(self.description[provider]["base_url"])

    def s3(self) -> Any:
        """A boto3 client of its S3."""
        s3 = self.description["s3"]
        return boto3.client(
            "s3",
            endpoint_url=s3["endpoint_url"],
            aws_access_key_id=s3["access_key"],
            aws_secret_access_key=s3["secret_key"],
            region_name=s3["region"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def control(self, provider: str, what: str, **content: Any) -> dict[str, Any]:
        """One call of an emulator's control API: PUT with content, else GET."""
        return self._control("PUT" if content else "GET", provider, what, content or None)

    def add_faults(self, provider: str, faults: list[Mapping[str, Any]]) -> None:
        """Plan faults behind those that are planned already."""
        self._control("POST", provider, "faults", {"faults": faults})

    def _control(self, method: str, provider: str, what: str, content: object) -> dict[str, Any]:
        url = f"{self.base_url(provider)}/_sandbox/{what}"
        with httpx.Client(timeout=20, trust_env=False) as client:
            answer = client.request(method, url, json=content)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@contextlib.contextmanager
def running_stack(folder: Path) -> Iterator[LocalStack]:
    """A stack that runs while the block does."""
    stack = LocalStack(folder)
    stack.start()
    try:
        yield stack
    except BaseException:
        # The failure of the block is the one to show.
        with contextlib.suppress(AssertionError):
            stack.stop()
        raise
    # The signal of Ctrl-C.
    assert stack.stop(signal.SIGINT) == 0, stack.tail()
