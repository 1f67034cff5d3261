"""Settings of a worker, from its environment (``PRO_VIDEO_…``); parameters belong to a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one worker process, read once from the environment.

    Each field is the environment variable ``PRO_VIDEO_<FIELD>``.
    """

    model_config = SettingsConfigDict(env_prefix="PRO_VIDEO_", frozen=True, extra="ignore")

    block: str = Field("pro-video", description="Name of the Prefect blocks to use.")
    max_segments: int = Field(10, ge=1, description="Segments allowed in one job.")
    touching_segments: Literal["trim", "refuse"] = Field(
        "trim", description="Segments that touch: end the former 0.05 s earlier, or refuse the job."
    )
    sync_so_speaker_pixels: Literal["displayed", "stored"] = Field(
        "displayed",
        description="Frame that Sync.so's coordinates of a speaker refer to in a turned video: as "
        "players show it, or as the file stores it. Sync.so does not document which.",
    )
    allow_local_files: bool = Field(False, description="May jobs name files on the worker's disk?")
    allow_private_addresses: bool = Field(
        False, description="May sources and results come from addresses that are not public?"
    )
    max_source_bytes: int = Field(5 * 1024**3, gt=0, description="Largest file taken, in bytes.")
    link_hours: float = Field(
        24.0, gt=0, le=168, description="Life of the links given to providers and users, in hours."
    )
    poll_seconds: float = Field(
        10.0, gt=0, description="Longest pause between two polls of a provider's job, in seconds."
    )
    park_after_seconds: float = Field(
        20.0,
        ge=0,
        description="Age of a wait for a provider at which its run leaves the process, in seconds.",
    )
    lip_sync_deadline_hours: float = Field(
        6.0, gt=0, description="Longest wait for one lip-sync, in hours."
    )
    inpainting_deadline_hours: float = Field(
        6.0, gt=0, description="Longest wait for one text removal, in hours."
    )
    slot_deadline_hours: float = Field(
        6.0, gt=0, description="Longest wait for a free slot at a provider, in hours."
    )
    orphan_search_seconds: float = Field(
        180.0,
        ge=0,
        description="How long a provider's listing may lag behind a submit, in seconds.",
    )
    public_url: str = Field(
        "", description="Address under which providers reach the gateway; empty: polling alone."
    )
    max_recoveries: int = Field(
        5, ge=0, description="Lost workers that one job survives before it ends as failed."
    )
    max_attempts: int = Field(
        2,
        ge=1,
        le=5,
        description="Paid attempts per stage, when a provider says that a retry helps.",
    )
    retry_days: float = Field(
        30.0,
        ge=1,
        description="Days for which a failed or cancelled job keeps what its retry needs.",
    )
    reading_processes: int = Field(
        2, ge=1, le=64, description="Processes that read media at the same time."
    )
    reading_memory_mb: int = Field(
        1536, ge=64, description="Memory that reading one file may take, in MB."
    )
    reading_cpu_seconds: int = Field(
        300, ge=1, description="Time of a processor that reading one file may take, in seconds."
    )
    reading_seconds: float = Field(
        900.0,
        gt=0,
        description="Longest reading of one file, without waits for its storage, in seconds.",
    )


_override: ContextVar[Settings | None] = ContextVar("pro_video_settings", default=None)


def get_settings() -> Settings:
    """The settings of the running job, or those of this process outside of a job."""
    return _override.get() or _of_process()


@contextmanager
def use_settings(settings: Settings) -> Iterator[Settings]:
    """Make ``settings`` the ones that :func:`get_settings` returns inside the block."""
    token = _override.set(settings)
    try:
        yield settings
    finally:
        _override.reset(token)


@lru_cache(maxsize=1)
def _of_process() -> Settings:
    return Settings()
