"""Settings of the providers' callbacks (``PRO_VIDEO_GATEWAY_…``)."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class CallbackSettings(BaseSettings):
    """Each field is the environment variable ``PRO_VIDEO_GATEWAY_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="PRO_VIDEO_GATEWAY_", frozen=True, extra="ignore")

    sync_so_webhook_secrets: SecretStr = Field(
        SecretStr(""),
        description="Sync.so's webhook secret; two, with a comma between them, while it is "
        "changed. Empty: the gateway asks Sync.so for it with the API key.",
    )
    ghostcut_previous_app_secrets: SecretStr = Field(
        SecretStr(""),
        description="Earlier app secrets that GhostCut may still sign with, besides the block's "
        "own; with commas between them.",
    )
    doorbell_max_bytes: int = Field(256 * 1024, gt=0, description="Largest callback, in bytes.")
    doorbell_seconds: float = Field(
        10.0, gt=0, description="A callback that has not arrived whole after this time is refused."
    )
    doorbells_at_once: int = Field(64, ge=1, description="Callbacks received at the same time.")
    doorbell_memory_seconds: float = Field(
        900.0, gt=0, description="A repetition within this time is not handled again."
    )


def secrets_of(text: SecretStr) -> tuple[str, ...]:
    """The secrets of a comma list."""
    parts = (part.strip() for part in text.get_secret_value().split(","))
    return tuple(part for part in parts if part)
