"""The providers' secrets for signing callbacks, from the settings and the Prefect blocks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import httpx

from gateway.base.problems import unavailable
from gateway.callbacks.settings import DoorbellSettings, secrets_of
from pro_video.core.settings import get_settings
from pro_video.net.exchange import Answer, HttpSession, Timeouts
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials

logger = logging.getLogger("pro_video.gateway.doorbells")

# A changed secret is known within this time; forged callbacks cost no more than one read in it.
_LIFE_SECONDS = 60.0
# After a failed read, callbacks are refused for this long without another one.
_PAUSE_SECONDS = 2.0
_READ_SECONDS = 10.0
# Not part of Sync.so's published reference, but of its dashboard's API.
_SYNC_SO_SECRET = "/v2/organizations/webhook/secret"


class SecretsUnknown(Exception):
    """The secrets could not be read."""


class CachedSecrets:
    """Secrets that are read anew every now and then, by one reader for all callers.

    Args:
        read: reads them; raises :class:`SecretsUnknown`.
        life: seconds that a reading holds.
        pause: seconds that a failure to read holds.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[tuple[str, ...]]],
        *,
        life: float = _LIFE_SECONDS,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        self._read = read
        self._life = life
        self._pause = pause
        self._known: tuple[str, ...] | None = None
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> tuple[str, ...]:
        """The secrets; those of before while new ones cannot be read.

        Raises:
            ProblemError: 503, when they were never read.
        """
        async with self._lock:
            if time.monotonic() >= self._until:
                try:
                    async with asyncio.timeout(_READ_SECONDS):
                        self._known = await self._read()
                    self._until = time.monotonic() + self._life
                except (SecretsUnknown, httpx.HTTPError, TimeoutError, ValueError) as error:
                    logger.warning("Webhook secrets cannot be read: %s", type(error).__name__)
                    self._until = time.monotonic() + self._pause
        if self._known is None:
            raise unavailable("The check of signatures", retry_after=30)
        return self._known


@dataclass(frozen=True)
class ProviderSecrets:
    """The secrets of both providers."""

    sync_so: CachedSecrets
    ghostcut: CachedSecrets


def open_secrets(settings: DoorbellSettings) -> ProviderSecrets:
    """The secrets of the settings and of the blocks ``PRO_VIDEO_BLOCK``."""
    return ProviderSecrets(
        sync_so=CachedSecrets(partial(_sync_so, settings)),
        ghostcut=CachedSecrets(partial(_ghostcut, settings)),
    )


async def _sync_so(settings: DoorbellSettings) -> tuple[str, ...]:
    given = secrets_of(settings.sync_so_webhook_secrets)
    if given:
        return given
    block: SyncSoCredentials = await SyncSoCredentials.aload(get_settings().block)
    async with HttpSession(block.base_url, timeouts=Timeouts(total=_READ_SECONDS)) as api:
        answer = await api.send(
            "GET", _SYNC_SO_SECRET, headers={"x-api-key": block.api_key.get_secret_value()}
        )
    body = answer.json() if isinstance(answer, Answer) and answer.status == 200 else None
    secret = body.get("secret") if isinstance(body, dict) else None
    if not isinstance(secret, str) or not secret:
        raise SecretsUnknown
    return (secret,)


async def _ghostcut(settings: DoorbellSettings) -> tuple[str, ...]:
    block: GhostCutCredentials = await GhostCutCredentials.aload(get_settings().block)
    previous = secrets_of(settings.ghostcut_previous_app_secrets)
    return (block.app_secret.get_secret_value(), *previous)
