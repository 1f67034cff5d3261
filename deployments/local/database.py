"""The database of the stack's Prefect server: PostgreSQL of its own, SQLite, or the user's
server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from deployments.local.postgres import PORT, Cluster, unusable

VARIABLE = "PRO_VIDEO_DATABASE"
_ADDRESS = "postgresql+asyncpg://"
_COST = (
    "Prefect's database is SQLite, which writes one thing at a time: while several jobs run, "
    "Prefect refuses calls now and then, and its clients wait and repeat them."
)

# Connections stay below the server's ``max_connections``. Waiting for one, and for a statement,
# takes longer on a busy machine than Prefect expects.
_POOL = {
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "10",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_TIMEOUT": "60",
}
_TIMEOUTS = {
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
}
_RETENTION = {
    # Events are most of the database; a heartbeat is of no use after a day.
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P3D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": (
        '{"prefect.flow-run.heartbeat": 86400}'
    ),
    # Ended runs with their states, logs and artifacts; the files of jobs stay in the bucket.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 86400),
}


@dataclass(frozen=True)
class Database:
    """The database of the Prefect server.

    Attributes:
        url: its address for SQLAlchemy; may hold a password.
        cluster: the PostgreSQL that the stack runs for it, if it does.
        notes: sentences for the user at the start.
    """

    url: str
    cluster: Cluster | None = None
    notes: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Prefect's settings for it."""
        return {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.url,
            # The driver reads it where the address names no port.
            **({"PGPORT": str(PORT)} if self.cluster else {}),
            **_POOL,
            **_TIMEOUTS,
            **_RETENTION,
        }


def choose_database(folder: Path) -> Database:
    """The database of the stack in a folder, as ``PRO_VIDEO_DATABASE`` says: ``postgres`` (the
    default), ``sqlite``, or the address of a PostgreSQL server.

    Raises:
        ValueError: it is none of these, or PostgreSQL was asked for and does not run here.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    file = folder / "prefect" / "prefect.db"
    cluster = Cluster(folder / "data" / "postgres")
    if chosen.startswith(_ADDRESS):
        return Database(chosen)
    if chosen not in ("", "postgres", "sqlite"):
        # Not named: an address may hold a password.
        raise ValueError(
            f"{VARIABLE} must be postgres, sqlite, or an address that begins with {_ADDRESS}"
        )
    problem = None if chosen == "sqlite" else unusable()
    if problem and chosen:
        raise ValueError(f"{VARIABLE} is postgres, which cannot be used: {problem}")
    if chosen != "sqlite" and problem is None:
        other = (_hidden(file, "sqlite"),) if file.exists() and not cluster.is_made else ()
        return Database(cluster.url, cluster, other)
    notes = [f"{_COST} PostgreSQL cannot be used: {problem}." if problem else _COST]
    if cluster.is_made and not file.exists():
        notes.append(_hidden(cluster.data, "postgres"))
    return Database(f"sqlite+aiosqlite:///{file}", None, tuple(notes))


def _hidden(place: Path, choice: str) -> str:
    return (
        f"Runs of earlier starts stay in {place} and are not shown; {VARIABLE}={choice} shows them."
    )
