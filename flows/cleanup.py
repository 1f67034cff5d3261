"""The flow that removes what ended jobs leave in the bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import parameter
from pro_video.core.job_names import FileKind
from tasks.cleanup.plan import Wish
from tasks.cleanup.run import run_cleanup


@flow(name="pro-video-cleanup")
async def cleanup_flow(
    age_days: int = parameter(
        "Age", "Days since the end of a job, at least 2: webhooks take a day.", 30, ge=2
    ),
    what: list[FileKind] = parameter(
        "What",
        "Kinds of files: intermediates, records, sources (the jobs' copies), results.",
        ["intermediates", "records", "sources"],
    ),
    jobs: list[str] = parameter("Jobs", "Ids of the only jobs to clean up. None: all.", []),
    dry_run: bool = parameter("Dry run", "Only show in a table what would go.", True),
) -> State[Any]:
    """Remove files of jobs that ended long ago; results only when they are asked for.

    A failed or cancelled job keeps all that a retry needs for the days of PRO_VIDEO_RETRY_DAYS.
    """
    wish = Wish(timedelta(days=age_days), frozenset(what), frozenset(jobs), dry_run=dry_run)
    return await run_cleanup(wish, now=datetime.now(UTC))
