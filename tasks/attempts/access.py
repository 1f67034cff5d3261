"""Clients of the providers, and the wait while a provider refuses the key or the account owes
money: neither is a failure of the job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    ServiceUnavailable,
    StorageRefused,
)
from pro_video.core.retrying import Backoff
from pro_video.core.settings import get_settings
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import pause
from pro_video.providers.ghostcut.client import GhostCutClient
from pro_video.providers.sync_so.client import SyncSoClient
from tasks.connections.connections import Connections, connections, expire_connections
from tasks.run.job import Job

T = TypeVar("T")

# The block is read again with each try, and a thousand jobs may be trying.
_PATIENCE = Backoff(first=5.0, longest=60.0)
# A key that was read at most this many seconds ago counts as the block's present one.
_PRESENT = 5.0
# Codes that ask for a payment. The others mean that the plan has no room for this job.
_MONEY: Final = frozenset({"http_402", "account_payment_required", "account_on_hold"})
_SHOWN: Final = {
    "sync.so": ("Sync.so", "sync-so-credentials"),
    "ghostcut": ("GhostCut", "ghostcut-credentials"),
}


def blocked_message(error: CredentialsRefused | AccountBlocked) -> str:
    """What has to be done before the jobs of the account go on."""
    name, block = _SHOWN[error.provider or "sync.so"]
    if isinstance(error, CredentialsRefused):
        return f"{name} refuses the key; correct the block {block}/{get_settings().block}."
    return f"{error.message.rstrip('.')}. See to the account of {name}."


async def withheld(job: Job, error: CredentialsRefused | AccountBlocked) -> ServiceUnavailable:
    """Show in the job's state what it waits for, and return the error as a transient one."""
    message = blocked_message(error)
    await job.reporter.blocked(f"{message} The job goes on by itself.")
    return ServiceUnavailable(
        message, provider=error.provider, code=error.code, request_id=error.request_id
    )


async def once_allowed(job: Job, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call while the provider refuses the key or wants a payment first, up to the deadline
    for a slot.

    Raises:
        CredentialsRefused, AccountBlocked: at the deadline, or when a payment would not help.
    """
    deadline = job.clock.monotonic() + get_settings().slot_deadline_hours * 3600
    tries = 0
    while True:
        try:
            result = await call()
        except (CredentialsRefused, AccountBlocked) as error:
            passes = isinstance(error, CredentialsRefused) or (error.code or "").lower() in _MONEY
            if not passes or job.clock.monotonic() >= deadline:
                raise
            await withheld(job, error)
            tries += 1
        else:
            await job.reporter.blocked(None)
            return result
        await pause(_PATIENCE.pause(tries), clock=job.clock, stop=current_stop())


async def open_sync_so(**options: Any) -> SyncSoClient:
    """A client of the block's account; a new key in the block takes effect in it.

    Raises:
        StorageRefused: a block is missing.
        CredentialsRefused: the block's key is malformed.
    """
    return (await connections()).sync_so.get_client(renew=_sync_so_key, **options)


async def open_ghostcut() -> GhostCutClient:
    """The same for GhostCut."""
    return (await connections()).ghostcut.get_client(renew=_ghostcut_keys)


async def sync_so_client(job: Job, *, backoff: Backoff | None = None) -> SyncSoClient:
    """:func:`open_sync_so` once the key is well-formed, for a job that waits for it."""
    return await once_allowed(job, partial(open_sync_so, backoff=backoff))


async def ghostcut_client(job: Job) -> GhostCutClient:
    """:func:`open_ghostcut` in the same way."""
    return await once_allowed(job, open_ghostcut)


async def _sync_so_key() -> str | None:
    links = await _present()
    return None if links is None else links.sync_so.api_key.get_secret_value()


async def _ghostcut_keys() -> tuple[str, str] | None:
    links = await _present()
    if links is None:
        return None
    return links.ghostcut.app_key, links.ghostcut.app_secret.get_secret_value()


async def _present() -> Connections | None:
    expire_connections(_PRESENT)
    try:
        return await connections()
    except StorageRefused:
        # The block is being replaced.
        return None
