"""The state that all calls share: accounts, works, files, switches, faults."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request

from sandbox.common.faults import FaultQueue
from sandbox.common.media_pool import MediaPool
from sandbox.common.settings import SwitchBoard
from sandbox.common.store import Store
from sandbox.common.timing import Tasks
from sandbox.ghostcut.faults import KNOWN_FAULTS
from sandbox.ghostcut.switches import SWITCHES

DOWNLOADS = 8
"""Sources fetched at once; the other works wait in status -2."""


class Emulator:
    """The vendor with all its accounts; `secrets` maps each AppKey to its AppSecret."""

    def __init__(
        self, folder: Path, secrets: Mapping[str, str], public_base_url: str | None, workers: int
    ) -> None:
        self.secrets = secrets
        self.public_base_url = public_base_url
        self.store = Store(folder / "ghostcut.sqlite")
        self.switches = SwitchBoard(self.store, SWITCHES)
        self.faults = FaultQueue(self.store, KNOWN_FAULTS)
        self.tasks = Tasks()
        self.pool = MediaPool(workers)
        self.downloads = asyncio.Semaphore(DOWNLOADS)
        self.sources, self.results, self.uploads = (
            folder / name for name in ("sources", "results", "uploads")
        )
        for each in (self.sources, self.results, self.uploads):
            each.mkdir(parents=True, exist_ok=True)

    def secret(self, account: str) -> str | None:
        """The AppSecret of an account; None when there is no such account."""
        given = self.secrets.get(account)
        return None if given is None else self.switches["app_secret"] or given

    def origin(self, request: Request) -> str:
        """Base of the links in a response: as configured, else the address that was called."""
        return (self.public_base_url or str(request.base_url)).rstrip("/")
