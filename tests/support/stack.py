"""A local stack in processes of its own, as ``python -m deployments.local.up`` starts it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from deployments.local.stack import open_stack
from deployments.local.stack_process import StackNotReady, StackProcess
from tests.support.commands import clean_environment

# Also where ten other programs want each processor.
READY_SECONDS = 480.0
STOP_SECONDS = 60.0

PACE = {
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    "PRO_VIDEO_POLL_SECONDS": "0.5",
    # The emulators list a job at once; a short search still has to look twice.
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
        # Processes may end meanwhile, and those of other users are not readable.
        with contextlib.suppress(OSError):
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def own_port_base(folder: Path) -> int:
    """A free run of ports for a stack; test runs that start together choose different ones."""
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
    """One stack, to be started, or one that another process has started (:meth:`attach`).

    Args:
        folder: of the stack.
        port_base: the first of its ports; by default of a free run.
        settings: environment variables of its processes, besides :data:`PACE`.
        module: that runs it.

    Attributes:
        description: the content of its ``stack.json``.
        directory: its working directory, in which no module of ours must be looked for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port_base: int | None = None,
        settings: Mapping[str, str] | None = None,
        module: str = "deployments.local.up",
    ) -> None:
        self.folder = folder.resolve()
        self.port_base = port_base or own_port_base(self.folder)
        self.log = self.folder.parent / f"{self.folder.name}.log"
        self.description: dict[str, Any] = {}
        self.directory = foreign_directory(self.folder.parent / f"{self.folder.name}-directory")
        self._command = StackProcess(
            self.folder, self.port_base, module=module, directory=self.directory
        )
        # Read once: pytest changes its own environment for each test, while background jobs run.
        self._environment = clean_environment(**{**PACE, **(settings or {})})

    @classmethod
    def attach(cls, folder: Path) -> LocalStack:
        """The running stack of a folder."""
        description = json.loads((folder / "stack.json").read_text(encoding="utf-8"))
        port = httpx.URL(description["prefect_api_url"]).port
        stack = cls(folder, port_base=port)
        stack.description = description
        return stack

    def environment(self) -> dict[str, str]:
        """Environment of the command, without the caller's own settings."""
        return {
            **self._environment,
            "PRO_VIDEO_PORT_BASE": str(self.port_base),
            "PRO_VIDEO_GATEWAY_CORS_ORIGINS": json.dumps([self.page_origin]),
        }

    def process_environment(self) -> dict[str, str]:
        """Environment of a further process beside those that the command starts."""
        return {**open_stack(self.folder, self.port_base).environment(), **self.environment()}

    @property
    def page_origin(self) -> str:
        """An origin other than the gateway's whose pages may call it."""
        return f"http://127.0.0.1:{self.port_base + 9}"

    def launch(self, **environment: str) -> None:
        """Start the command, without waiting for anything."""
        with self.log.open("ab") as log:
            self._command.launch(output=log, environment={**self.environment(), **environment})

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the launched command has started everything.

        Raises:
            AssertionError: with the ends of the logs; the command was stopped.
        """
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
        """The ends of the logs of the stack and its processes."""
        logs = [self.log, *sorted((self.folder / "logs").glob("*.log"))]
        return "\n".join(
            f"{log}:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}" for log in logs
        )

    def members(self) -> list[int]:
        """Its living processes, the command itself left out."""
        return processes_with("PREFECT_HOME", str(self.folder / "prefect"))

    def stop(self, order: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return the command's exit status; a process that stays is a failure."""
        try:
            status = self._command.stop(order, seconds=STOP_SECONDS)
            wait_until(lambda: not self.members(), 10, "no process of the stack is left")
        finally:
            for pid in self.members():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return status

    def kill(self) -> None:
        """SIGKILL all its processes at once, as a machine does that runs out of memory or power."""
        for pid in (self.process.pid, *self.members()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        wait_until(lambda: not self.members(), 10, "no process of the stack is left")

    @contextlib.contextmanager
    def server_killed(self, name: str) -> Iterator[None]:
        """SIGKILL a server (``prefect``, ``s3``, ``sync-so``, ``ghostcut``), which is away while
        the block runs, and wait until it answers again."""
        with self.killed(name):
            yield
        wait_until(lambda: self.answers(name), READY_SECONDS, f"{name} answers again")

    @contextlib.contextmanager
    def killed(self, *names: str) -> Iterator[None]:
        """SIGKILL processes, which are away while the block runs."""
        supervisor = int((self.folder / "supervisord.pid").read_text(encoding="ascii"))
        # A supervisor that is stopped starts nothing anew.
        os.kill(supervisor, signal.SIGSTOP)
        try:
            for name in names:
                os.kill(self.pid(name), signal.SIGKILL)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def pid(self, name: str) -> int:
        """The process of a name that was started last."""
        log = (self.folder / "logs/supervisord.log").read_text(encoding="utf-8")
        return int(log.rpartition(f"spawned: '{name}' with pid ")[2].split()[0])

    def answers(self, name: str) -> bool:
        """Does a server answer?"""
        health = "/_sandbox/health"
        if name == "prefect":
            url = f"{self.api_url}/health"
        else:
            url = self.base_url(name.replace("-", "_")) + health
        try:
            return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    # Parts of the stack

    @property
    def api_url(self) -> str:
        """Address of Prefect's API."""
        return str(self.description["prefect_api_url"])

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return str(self.description["s3"]["bucket"])

    def base_url(self, server: str) -> str:
        """Address of ``sync_so``, ``ghostcut``, ``s3`` or ``gateway``."""
        described = self.description[server]
        return str(described["endpoint_url" if server == "s3" else "base_url"])

    def s3(self) -> Any:
        """A boto3 client of its S3."""
        s3 = self.description["s3"]
        return boto3.client(
            "s3",
            endpoint_url=s3["endpoint_url"],
            aws_access_key_id=s3["access_key"],
            aws_secret_access_key=s3["secret_key"],
            region_name=s3["region"],
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"max_attempts": 8, "mode": "standard"},
            ),
        )

    def control(self, server: str, what: str, **content: Any) -> dict[str, Any]:
        """One call of a sandbox server's control API: PUT with content, else GET."""
        return self._control("PUT" if content else "GET", server, what, content or None)

    def set_pace(self, seconds_per_job: float) -> None:
        """Set how long both providers work on a job."""
        for provider in ("sync_so", "ghostcut"):
            self.control(provider, "settings", seconds_per_job=seconds_per_job)

    def hold(self, held: bool) -> None:
        """Let both providers end no job, or end them again."""
        for provider in ("sync_so", "ghostcut"):
            self.control(provider, "settings", hold=held)

    def add_faults(self, server: str, faults: Sequence[Mapping[str, Any]]) -> None:
        """Plan faults behind those that are planned already."""
        self._control("POST", server, "faults", {"faults": faults})

    def _control(self, method: str, server: str, what: str, content: object) -> dict[str, Any]:
        url = f"{self.base_url(server)}/_sandbox/{what}"
        with httpx.Client(timeout=30, trust_env=False) as client:
            answer = client.request(method, url, json=content)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@contextlib.contextmanager
def running_stack(folder: Path, **options: Any) -> Iterator[LocalStack]:
    """A stack that runs while the block does; ``options`` as of :class:`LocalStack`."""
    stack = LocalStack(folder, **options)
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
