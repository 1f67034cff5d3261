"""Logs an unexpected exception without the secrets that its text may quote."""

from __future__ import annotations

import traceback

from prefect import get_run_logger

from pro_video.core.redaction import redact


def tell_unexpected(job_id: str, error: Exception) -> str:
    """Log the traceback; return the type and text of the exception without secrets."""
    shown = redact(f"{type(error).__name__}: {error}")
    # The lines of the code alone: the interpreter's own form ends with the text as it is.
    frames = "".join(traceback.format_tb(error.__traceback__))
    get_run_logger().error("Job %s: unexpected %s\n%s", job_id, shown, frames)
    return shown
