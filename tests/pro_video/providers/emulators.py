"""Emulators of the vendors for the clients' tests, and what both clients' tests check alike."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp

from sandbox.common.server import start_app


class Emulator:
    """The control API of a running emulator, shared by the tests of a module."""

    def __init__(self, url: str) -> None:
        self.url = url

    def settings(self, **given: object) -> None:
        httpx.put(f"{self.url}/_sandbox/settings", json=given).raise_for_status()

    def faults(self, *given: dict[str, Any]) -> None:
        answer = httpx.put(f"{self.url}/_sandbox/faults", json={"faults": list(given)})
        answer.raise_for_status()

    def accepted(self, token: str) -> int:
        """The number of paid jobs that carry a token."""
        audit = httpx.get(f"{self.url}/_sandbox/audit").raise_for_status().json()
        return sum(token in (job["reference"], job.get("idempotency_key")) for job in audit["jobs"])


@contextmanager
def running(app: ASGIApp, **settings: object) -> Iterator[Emulator]:
    with start_app(app) as server:
        emulator = Emulator(server.url)
        emulator.settings(seconds_per_job=0, **settings)
        yield emulator


def everything_shown(client: object, error: BaseException | None, log: str) -> str:
    """All texts of a client and of an error with its causes, and the log."""
    shown = [repr(client), str(client), repr(vars(client)["_session"]), log]
    if error is not None:
        shown += traceback.format_exception(error)
    while error is not None:
        shown += [repr(error), str(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(shown)
