"""The Prefect event that the gateway emits for a provider's callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EVENT: Final = "pro-video.doorbell"
"""Name of the Prefect event."""

_ID: Final = "prefect.resource.id"
_PREFIX: Final = "pro-video.provider-job."


def resource_of(provider: str, job_id: str) -> dict[str, str]:
    """The event's resource, which names the provider's job.

    Args:
        provider: ``sync-so`` or ``ghostcut``; without a dot.
        job_id: the provider's id of its job.
    """
    return {_ID: f"{_PREFIX}{provider}.{job_id}"}


def provider_job_of(resource: Mapping[str, str]) -> tuple[str, str] | None:
    """Provider and job id that an event's resource names; None when it names none."""
    name = resource.get(_ID, "")
    if not name.startswith(_PREFIX):
        return None
    provider, _, job_id = name.removeprefix(_PREFIX).partition(".")
    return (provider, job_id) if provider and job_id else None
