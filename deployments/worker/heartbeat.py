"""The pause between the workers' heartbeats, apart, so that reading it loads no Prefect."""

from __future__ import annotations

from typing import Final

HEARTBEAT_SECONDS: Final = 30
"""Prefect's shortest pause between two heartbeats; the workers' setting must match."""
