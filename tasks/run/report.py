"""Writes a job's report to the bucket and to Prefect."""

from __future__ import annotations

import logging

import httpx
from prefect.artifacts import acreate_markdown_artifact

from pro_video.core.checkpoints import reach
from pro_video.core.job_names import JobKeys
from pro_video.core.job_warning import JobWarning
from pro_video.core.stopping import StopSignal
from pro_video.records import JobResult
from pro_video.s3.storage import Storage
from tasks.connections.connections import connections
from tasks.connections.records import with_retries
from tasks.run.job import Job
from tasks.run.job_state import LIP_SYNC

logger = logging.getLogger("prefect.pro_video.report")

ARTIFACT_KEY = "pro-video-report"
"""Key of the report artifacts; the artifact of a job is found by its flow run."""


async def write_report(job: Job, result: JobResult) -> None:
    """Write ``job.json`` into the job's prefix, and the same as a Markdown artifact.

    Neither holds a signed link.
    """
    reach("report.begin")
    unsigned = result.unsigned()

    async def keep() -> None:
        await keep_report((await connections()).storage, unsigned)

    # Also the report of a stopped job is tried again.
    await with_retries(keep, stop=StopSignal())
    await _show(job, unsigned)
    reach("report.written")


async def keep_report(storage: Storage, result: JobResult) -> None:
    """Write ``job.json`` of an unsigned result."""
    await storage.put_bytes(
        JobKeys(result.job_id).report,
        result.model_dump_json(indent=2).encode(),
        content_type="application/json",
    )


async def _show(job: Job, result: JobResult) -> None:
    try:
        await acreate_markdown_artifact(
            key=ARTIFACT_KEY, markdown=report_markdown(result), description=result.message
        )
    except httpx.HTTPError as error:
        logger.warning("Could not show the report of %s: %s", job.job_id, type(error).__name__)


def report_markdown(result: JobResult) -> str:
    """The report as Markdown."""
    rows = [
        ("Status", result.status),
        ("Message", result.message),
        ("Result", result.output_key),
        ("Fallback (lip-sync only)", result.fallback_key),
        ("Rejected result", result.rejected_key),
        ("Used as it is by decision of", result.accepted_by),
        ("Preview", result.preview_key),
        ("Segments", str(result.metadata.segments_count)),
        ("Sync.so generation", result.metadata.sync_generation_id),
        ("Lip-sync reused from job", _origin(result)),
        ("GhostCut work", result.metadata.ghostcut_task_id),
        ("Price before the job", result.estimate.text if result.estimate else None),
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
    if result.warnings:
        lines += ["", "## Warnings", "", *(f"- {_shown(each)}" for each in result.warnings)]
    return "\n".join(lines) + "\n"


def _shown(warning: JobWarning) -> str:
    """A warning on one line, with its time and region."""
    places = []
    if warning.start is not None and warning.end is not None:
        places.append(f"{warning.start:.2f} to {warning.end:.2f} s")
    if (region := warning.region) is not None:
        places.append(
            f"x {region.x:.2f}, y {region.y:.2f}, width {region.width:.2f}, "
            f"height {region.height:.2f}"
        )
    if warning.confidence is not None:
        places.append(f"{warning.confidence:.0%} sure")
    place = f" ({'; '.join(places)})" if places else ""
    return _cell(f"{warning.stage}: {warning.message}{place} `{warning.code}`")


def _origin(result: JobResult) -> str | None:
    lip_sync = result.stages.get(LIP_SYNC)
    return lip_sync.reused_from if lip_sync is not None else None


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
