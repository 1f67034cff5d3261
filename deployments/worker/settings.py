"""Settings of the worker process itself (``PRO_VIDEO_WORKER_…``)."""

from __future__ import annotations

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

HEARTBEAT_SECONDS: Final = 30
"""Prefect's shortest pause between two heartbeats of a job."""


class WorkerSettings(BaseSettings):
    """Each field is the environment variable ``PRO_VIDEO_WORKER_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="PRO_VIDEO_WORKER_", frozen=True, extra="ignore")

    cancel_poll_seconds: float = Field(
        1.0, gt=0, description="Pause between two looks for cancelled runs, in seconds."
    )
    notice_seconds: float = Field(
        100.0, ge=90, description="Silence after which a worker counts as lost, in seconds."
    )
    grace_seconds: float = Field(
        20.0, gt=0, description="Time to hand jobs over when told to stop, in seconds."
    )


def get_worker_settings() -> WorkerSettings:
    """The settings of this process."""
    return WorkerSettings()
