"""The parts of the local stack: addresses, keys, processes and their environment."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from deployments.local.database import Database, choose_database
from deployments.worker.settings import HEARTBEAT_SECONDS

BUCKET = "pro-video"
REGION = "us-east-1"
HOST = "127.0.0.1"

DEFAULT_PORT_BASE = 4200
# Of every kind of stack.
_MOST_SERVICES = 10
# The environment may have other values.
_PACE = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PRO_VIDEO_POLL_SECONDS": "1",
    # The emulators list a job as soon as they have accepted it.
    "PRO_VIDEO_ORPHAN_SEARCH_SECONDS": "5",
}


@dataclass(frozen=True)
class Keys:
    """The sandbox's keys: made once per folder, and of no use elsewhere."""

    s3_access_key: str
    s3_secret_key: str
    sync_so_api_key: str
    ghostcut_app_key: str
    ghostcut_app_secret: str


@dataclass(frozen=True)
class Stack:
    """One local stack.

    Attributes:
        folder: where it keeps its state, ``.sandbox`` by default.
        port_base: the first of its consecutive ports, on loopback.
        keys: keys of the sandbox.
        database: of Prefect.
        services: those with a port, in the order of the ports.
        servers: the processes of Prefect's API, each with its service.
        workers: the processes that run jobs.
    """

    services: ClassVar[tuple[str, ...]] = ("Prefect", "S3", "Sync.so", "GhostCut", "Gateway")
    servers: ClassVar[dict[str, str]] = {"prefect": "Prefect"}
    workers: ClassVar[tuple[str, ...]] = ("worker",)

    folder: Path
    port_base: int
    keys: Keys
    database: Database

    def port(self, service: str) -> int:
        """Port of a service."""
        return self.port_base + self.services.index(service)

    def url(self, service: str) -> str:
        return f"http://{HOST}:{self.port(service)}"

    @property
    def prefect_api_url(self) -> str:
        return f"{self.url('Prefect')}/api"

    @property
    def description_file(self) -> Path:
        """Written when the stack is ready, removed when it stops."""
        return self.folder / "stack.json"

    @property
    def logs(self) -> Path:
        """Folder with a file for the output of each process."""
        return self.folder / "logs"

    def notes(self) -> list[str]:
        """Sentences for the user at the start."""
        return list(self.database.notes)

    def problems(self) -> list[str]:
        """What is missing on this machine, and how it is installed."""
        return []

    def taken_ports(self) -> list[str]:
        """The ports that another program listens on, with the service that needs each."""
        return [
            f"{self.port(service)} ({service})"
            for service in self.services
            if not _is_free(self.port(service))
        ]

    def require_free_ports(self) -> None:
        """Make sure that the stack can have its ports.

        Raises:
            ValueError: naming those that are taken, and how to choose others.
        """
        if taken := self.taken_ports():
            raise ValueError(
                f"These ports are taken on this machine: {', '.join(taken)}. Stop the program that "
                "listens there, or set PRO_VIDEO_PORT_BASE to the first of other ports, for "
                "example 5200."
            )

    def describe(self) -> dict[str, object]:
        """Addresses and names for clients of the stack."""
        return {
            "prefect_api_url": self.prefect_api_url,
            "s3": {
                "endpoint_url": self.url("S3"),
                "bucket": BUCKET,
                "access_key": self.keys.s3_access_key,
                "secret_key": self.keys.s3_secret_key,
                "region": REGION,
            },
            "sync_so": {"base_url": self.url("Sync.so"), "api_key": self.keys.sync_so_api_key},
            "ghostcut": {
                "base_url": self.url("GhostCut"),
                "app_key": self.keys.ghostcut_app_key,
                "app_secret": self.keys.ghostcut_app_secret,
            },
            "gateway": {"base_url": self.url("Gateway")},
        }

    def environment(self) -> dict[str, str]:
        """Environment of the stack's processes: Prefect's settings, ours, and the sandbox's
        keys."""
        return {
            **{name: os.environ.get(name, value) for name, value in _PACE.items()},
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.prefect_api_url,
            "PREFECT_PROFILES_PATH": str(self.folder / "prefect" / "profiles.toml"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            **self.database.environment(),
            # Both spellings of the address of its own UI.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
                f"http://{name}:{self.port('Prefect')}" for name in (HOST, "localhost")
            ),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
            "PREFECT_LOGGING_COLORS": "false",
            "DO_NOT_TRACK": "1",
            "PRO_VIDEO_ALLOW_LOCAL_FILES": "true",
            "PRO_VIDEO_ALLOW_PRIVATE_ADDRESSES": "true",
            "PRO_VIDEO_PUBLIC_URL": self.url("Gateway"),
            "PRO_VIDEO_GATEWAY_PORT": str(self.port("Gateway")),
            "PRO_VIDEO_S3_BUCKET": BUCKET,
            "PRO_VIDEO_S3_REGION": REGION,
            "PRO_VIDEO_S3_ENDPOINT_URL": self.url("S3"),
            "PRO_VIDEO_S3_ACCESS_KEY": self.keys.s3_access_key,
            "PRO_VIDEO_S3_SECRET_KEY": self.keys.s3_secret_key,
            "PRO_VIDEO_SYNC_SO_BASE_URL": self.url("Sync.so"),
            "PRO_VIDEO_SYNC_SO_API_KEY": self.keys.sync_so_api_key,
            "PRO_VIDEO_GHOSTCUT_BASE_URL": self.url("GhostCut"),
            "PRO_VIDEO_GHOSTCUT_APP_KEY": self.keys.ghostcut_app_key,
            "PRO_VIDEO_GHOSTCUT_APP_SECRET": self.keys.ghostcut_app_secret,
            "SANDBOX_S3_ACCESS_KEY": self.keys.s3_access_key,
            "SANDBOX_S3_SECRET_KEY": self.keys.s3_secret_key,
            "SANDBOX_SYNC_SO_API_KEY": self.keys.sync_so_api_key,
            "SANDBOX_GHOSTCUT_APP_KEY": self.keys.ghostcut_app_key,
            "SANDBOX_GHOSTCUT_APP_SECRET": self.keys.ghostcut_app_secret,
        }

    def commands(self) -> dict[str, list[str]]:
        """The stack's processes by name, dependencies first."""
        # The working directory is the user's, whose packages may have our names.
        python = [sys.executable, "-P", "-m"]
        sandbox = [*python, "sandbox"]
        waiting = [*python, "deployments.local.start_when_ready"]
        server = ["deployments.local.prefect_server"]
        server += ["--host", HOST, "--port", str(self.port("Prefect"))]
        worker = ["prefect", "worker", "start", "--pool", "pro-video", "--type", "pro-video"]
        data = self.folder / "data"
        database = {}
        if cluster := self.database.cluster:
            place = str(cluster.data)
            database = {"postgres": [*python, "deployments.local.postgres", "--data", place]}
            server = [waiting[-1], "--postgres", place, *server]

        def emulator(name: str, service: str) -> list[str]:
            return [
                *sandbox,
                name,
                "--host",
                HOST,
                "--port",
                str(self.port(service)),
                "--data-dir",
                str(data / name),
            ]

        return {
            **database,
            "prefect": [*python, *server],
            "s3": emulator("s3", "S3"),
            "sync-so": emulator("sync-so", "Sync.so"),
            "ghostcut": emulator("ghostcut", "GhostCut"),
            "initialize": [*python, "deployments.local.initialize", "--folder", str(self.folder)],
            "worker": [*waiting, "--url", f"{self.prefect_api_url}/health", *worker],
            "gateway": [*python, "gateway", "--host", HOST],
        }


def gateway_url(port_base: int) -> str:
    """Address of the gateway of the stack whose ports begin here."""
    return f"http://{HOST}:{port_base + Stack.services.index('Gateway')}"


def stop_signal(name: str) -> signal.Signals:
    """The stop signal for a process of the stack; PostgreSQL waits for its clients on SIGTERM."""
    return signal.SIGINT if name == "postgres" else signal.SIGTERM


def open_stack(folder: Path, port_base: int, kind: type[Stack] = Stack) -> Stack:
    """The stack of a folder, with its keys; makes both when they are not there yet.

    Args:
        folder: of the stack.
        port_base: the first of its ports.
        kind: of the stack.

    Raises:
        ValueError: ``PRO_VIDEO_DATABASE`` names no database that can be used.
    """
    folder = folder.resolve()
    database = choose_database(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Videos, keys and logs are for the user alone.
    for name in ("data", "prefect", "logs"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0o700)
    file = folder / "keys.json"
    if not file.exists():
        made = Keys(*(secrets.token_hex(16) for _ in range(5)))
        # Also where the folder was there before.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(made), out)
    keys = Keys(**json.loads(file.read_text(encoding="utf-8")))
    return kind(folder, port_base, keys, database)


def port_base_from_environment() -> int | None:
    """``PRO_VIDEO_PORT_BASE``, None when it is not set.

    Raises:
        ValueError: it is no usable port.
    """
    text = os.environ.get("PRO_VIDEO_PORT_BASE")
    if not text:
        return None
    if not text.isdecimal() or not 1024 <= int(text) <= 65535 - len(Stack.services):
        raise ValueError(f"PRO_VIDEO_PORT_BASE must be a port from 1024 to 65530, not {text!r}")
    return int(text)


def free_port_base() -> int:
    """The first of consecutive free ports, for a stack without fixed addresses."""
    for base in range(14200, 60000, 20):
        if all(_is_free(base + offset) for offset in range(_MOST_SERVICES)):
            return base
    raise RuntimeError("no consecutive free ports were found on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
