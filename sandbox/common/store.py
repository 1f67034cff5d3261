"""JSON documents on SQLite: state that survives a restart and a SIGKILL.

One connection per store, guarded by a re-entrant lock, so any thread may call it. Every call is
durable against the death of the process (write-ahead log), not against the loss of power.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, id)
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class Store:
    """Documents addressed by (kind, id), kept in the order in which they were first put."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file at `path` (its folder is created too)."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(
            self.path, check_same_thread=False, isolation_level=None, timeout=10.0
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; safe to repeat."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written as a whole or not at all, and no other thread comes between.

        May be nested; the outermost one commits. Do not await inside: the lock belongs to the
        thread, and another coroutine of the same thread would join the transaction.
        """
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    def put(self, kind: str, id: str, body: dict[str, Any]) -> None:
        """Insert or replace a document; a replaced one keeps its place in the order."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO documents (kind, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, id, json.dumps(body, ensure_ascii=False)),
            )

    def get(self, kind: str, id: str) -> dict[str, Any] | None:
        """The document, or None."""
        with self._lock:
            row = self._connection.execute(
                "SELECT body FROM documents WHERE kind = ? AND id = ?", (kind, id)
            ).fetchone()
        return None if row is None else _decode(row[0])

    def items(self, kind: str, newest_first: bool = False) -> list[tuple[str, dict[str, Any]]]:
        """Every (id, document) of a kind in the order of insertion, or the reverse."""
        order = "DESC" if newest_first else "ASC"
        with self._lock:
            rows = self._connection.execute(
                f"SELECT id, body FROM documents WHERE kind = ? ORDER BY seq {order}", (kind,)
            ).fetchall()
        return [(row[0], _decode(row[1])) for row in rows]

    def all(self, kind: str, newest_first: bool = False) -> list[dict[str, Any]]:
        """Every document of a kind in the order of insertion, or the reverse."""
        return [body for _, body in self.items(kind, newest_first)]

    def between(
        self, kind: str, start: bytes, end: bytes, limit: int
    ) -> list[tuple[str, dict[str, Any]]]:
        """At most `limit` (id, document) with `start` <= id < `end`, all in the order of UTF-8.

        The bounds need not be whole characters: `prefix + b"\xff"` is behind all with the prefix.
        """
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, body FROM documents WHERE kind = ? AND id >= CAST(? AS TEXT) "
                "AND id < CAST(? AS TEXT) ORDER BY id LIMIT ?",
                (kind, start, end, limit),
            ).fetchall()
        return [(row[0], _decode(row[1])) for row in rows]

    def delete(self, kind: str, id: str) -> bool:
        """Remove a document; False when there was none."""
        with self._lock:
            cursor = self._connection.execute(
                "DELETE FROM documents WHERE kind = ? AND id = ?", (kind, id)
            )
            return cursor.rowcount > 0

    def clear(self, kind: str) -> None:
        """Remove every document of a kind."""
        with self._lock:
            self._connection.execute("DELETE FROM documents WHERE kind = ?", (kind,))

    def counter(self, name: str, by: int = 1) -> int:
        """Add `by` to a named counter that starts at 0 and return it; `by=0` reads."""
        with self._lock:
            row = self._connection.execute(
                "INSERT INTO counters (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value",
                (name, by),
            ).fetchone()
        return int(row[0])


def _decode(text: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(text)
    return body
