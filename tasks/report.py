"""The report: what a job leaves for people and front ends, in the bucket and in Prefect."""

from __future__ import annotations

import logging

import httpx
from prefect import task
from prefect.artifacts import acreate_markdown_artifact

from pro_video.checkpoints import reach
from pro_video.records import JobResult
from tasks.connections import connections
from tasks.job import Job, current_job
from tasks.ledger import LIP_SYNC

logger = logging.getLogger("prefect.pro_video.report")

ARTIFACT_KEY = "pro-video-report"
"""Key of the report artifacts; a job's own is found by its flow run."""


@task(name="report", retries=3, retry_delay_seconds=[1.0, 4.0, 10.0])
async def write_report(result: JobResult) -> None:
    """Write ``job.json`` into the job's prefix, and the same for people as an artifact.

    Neither holds a signed link: the object keys are enough for whoever may read the bucket.
    """
    reach("report.begin")
    job = current_job()
    storage = (await connections()).storage
    unsigned = result.model_copy(
        update={"output_url": None, "output_url_expires_at": None, "fallback_url": None}
    )
    await storage.put_bytes(
        job.keys.report,
        unsigned.model_dump_json(indent=2).encode(),
        content_type="application/json",
    )
    await _show(job, unsigned)
    reach("report.written")


async def _show(job: Job, result: JobResult) -> None:
    try:
        await acreate_markdown_artifact(
            key=ARTIFACT_KEY, markdown=report_markdown(result), description=result.message
        )
    except httpx.HTTPError as error:
        logger.warning("Could not show the report of %s: %s", job.job_id, type(error).__name__)


def report_markdown(result: JobResult) -> str:
    """The report for people."""
    rows = [
        ("Status", result.status),
        ("Message", result.message),
        ("Result", result.output_key),
        ("Fallback (lip-sync only)", result.fallback_key),
        ("Preview", result.preview_key),
        ("Segments", str(result.metadata.segments_count)),
        ("Sync.so generation", result.metadata.sync_generation_id),
        ("Lip-sync reused from job", _origin(result)),
        ("GhostCut work", result.metadata.ghostcut_task_id),
        (
            "Estimated cost",
            f"{result.estimated_cost_usd} USD" if result.estimated_cost_usd is not None else None,
        ),
    ]
    if result.error is not None:
        rows += [
            ("Failed stage", result.error.stage),
            ("Error code", result.error.code),
            ("Provider's request id", result.error.request_id),
        ]
    rows += [(f"Time: {stage}", f"{seconds:.1f} s") for stage, seconds in result.timings.items()]
    lines = [f"# {result.display_name or 'Pro Video job'}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in rows if value is not None]
    return "\n".join(lines) + "\n"


def _origin(result: JobResult) -> str | None:
    lip_sync = result.stages.get(LIP_SYNC)
    return lip_sync.reused_from if lip_sync is not None else None


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
