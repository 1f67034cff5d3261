"""The SQLite file that says which buckets, objects and uploads exist.

An object exists exactly when its row is committed, so readers never see a partial one, and a
killed process loses at most what it had not answered yet. Keys are stored as UTF-8 bytes: their
order is then the order in which S3 lists them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, created REAL NOT NULL, lifecycle BLOB, cors BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key BLOB NOT NULL,
    size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL, headers TEXT NOT NULL,
    algorithm TEXT, checksum TEXT, UNIQUE (bucket, key)
);
CREATE TABLE IF NOT EXISTS segments (
    object INTEGER NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (object, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, initiated REAL NOT NULL,
    headers TEXT NOT NULL, with_checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_by_key ON uploads (bucket, key, id);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL,
    etag TEXT NOT NULL, modified REAL NOT NULL, digest BLOB, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
"""


class Database:
    """One connection that all threads share under a lock."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._actions: list[Callable[[], None]] = []
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        # Safe against a killed process; a power cut may lose the last commits, not the file.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def run(self, sql: str, *values: Any) -> int:
        """Runs a statement and returns the id of the row it inserted."""
        with self._lock:
            return self._connection.execute(sql, values).lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; also keeps every other thread away from the database meanwhile.

        Transactions nest: only the outermost commits.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                self._actions.clear()
                raise
            actions, self._actions = self._actions, []
        for action in actions:
            action()

    def on_commit(self, action: Callable[[], None]) -> None:
        """Runs `action` when the current transaction is committed, and never if it is not."""
        self._actions.append(action)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
