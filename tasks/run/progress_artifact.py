"""The progress artifact of a job: its query, and the percentage in it.

Light to import, because the gateway reads it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

PROGRESS_KEY: Final = "pro-video-progress"
"""Key of the progress artifacts; a job's own is found by its flow run."""


def artifacts_of(run_ids: Sequence[UUID]) -> dict[str, Any]:
    """Body of ``POST /artifacts/filter`` for the progress of jobs, the newest first.

    For the gateway, which reads many jobs at a time: the objects that the client's method makes of
    a response take forty times as long as reading the numbers.
    """
    return {
        "artifacts": {
            "key": {"any_": [PROGRESS_KEY]},
            "flow_run_id": {"any_": [str(each) for each in run_ids]},
        },
        "sort": "CREATED_DESC",
        "limit": len(run_ids),
    }


def percent_in(data: object) -> float:
    """The percentage that an artifact's data shows, 0 to 100."""
    return float(data) if isinstance(data, int | float) else 0.0
