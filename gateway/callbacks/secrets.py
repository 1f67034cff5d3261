"""The providers' secrets for signing callbacks, from the settings and the Prefect blocks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from gateway.base.refreshed_value import RefreshedValue
from gateway.base.settings import GatewaySettings
from pro_video.core.settings import get_settings
from pro_video.net.http_session import HttpResponse, HttpSession, Timeouts
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials

Secrets = RefreshedValue[tuple[str, ...]]

# A changed secret is known within this time, in seconds. Forged callbacks cause one read in it.
_LIFE_SECONDS = 60.0
_READ_SECONDS = 10.0
# From Sync.so's dashboard; its published reference does not have it.
_SYNC_SO_SECRET = "/v2/organizations/webhook/secret"


@dataclass(frozen=True)
class ProviderSecrets:
    """The secrets of both providers: old ones serve while new ones cannot be read."""

    sync_so: Secrets
    ghostcut: Secrets

    @classmethod
    def of(cls, settings: GatewaySettings) -> ProviderSecrets:
        """The secrets of the settings and of the blocks ``PRO_VIDEO_BLOCK``."""
        return cls(
            sync_so=_refreshed(partial(_sync_so, settings)),
            ghostcut=_refreshed(partial(_ghostcut, settings)),
        )


def _refreshed(read: Callable[[], Awaitable[tuple[str, ...]]]) -> Secrets:
    return RefreshedValue(
        read, name="The check of signatures", life=_LIFE_SECONDS, timeout=_READ_SECONDS
    )


def _split(text: SecretStr) -> tuple[str, ...]:
    parts = (part.strip() for part in text.get_secret_value().split(","))
    return tuple(part for part in parts if part)


async def _sync_so(settings: GatewaySettings) -> tuple[str, ...]:
    given = _split(settings.sync_so_webhook_secrets)
    if given:
        return given
    block: SyncSoCredentials = await SyncSoCredentials.aload(get_settings().block)
    async with HttpSession(block.base_url, timeouts=Timeouts(total=_READ_SECONDS)) as api:
        answer = await api.send(
            "GET", _SYNC_SO_SECRET, headers={"x-api-key": block.api_key.get_secret_value()}
        )
    body = answer.json() if isinstance(answer, HttpResponse) and answer.status == 200 else None
    secret = body.get("secret") if isinstance(body, dict) else None
    if not isinstance(secret, str) or not secret:
        raise ValueError("Sync.so named no webhook secret")
    return (secret,)


async def _ghostcut(settings: GatewaySettings) -> tuple[str, ...]:
    block: GhostCutCredentials = await GhostCutCredentials.aload(get_settings().block)
    previous = _split(settings.ghostcut_previous_app_secrets)
    return (block.app_secret.get_secret_value(), *previous)
