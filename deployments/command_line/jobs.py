"""The commands about jobs that were begun."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from rich.table import Column, Table

from deployments.command_line.connection import connect
from deployments.command_line.display import console
from deployments.command_line.follow import follow_to_end, save
from deployments.command_line.output import (
    DONE,
    CommandError,
    exit_status,
    note,
    say,
    say_job,
    say_json,
)
from pro_video.client import Job
from pro_video.client.async_client import Kind
from pro_video.client.models import Status


def status(job: str, *, json: bool = False) -> int:
    """Say where a job stands.

    Example: `pro-video status 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a`

    Args:
        job: Its id.
        json: Print JSON.
    """
    with connect() as client:
        _say(client.get(job), json=json)
    return DONE


def watch(job: str, *, out: Path | None = None, json: bool = False) -> int:
    """Follow a job to its end; the exit status is that of run.

    Example: `pro-video watch 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a --out new.mp4`

    Args:
        job: Its id.
        out: Save the result here.
        json: Print each event as a line of JSON.
    """
    with connect() as client:
        if not json:
            return follow_to_end(client, job, out=out, json=False)
        for event in client.watch(job):
            say_json(event, indent=None)
        if out is not None:
            save(client, job, out)
        return exit_status(client.get(job))


def list_jobs(
    *,
    status: Status | None = None,
    limit: int = 20,
    json: bool = False,
) -> int:
    """List your jobs, the latest first.

    Example: `pro-video list --status failed`

    Args:
        status: Only jobs of this status.
        limit: Most jobs.
        json: Print JSON.
    """
    with connect() as client:
        page = client.list(status=status, limit=limit)
    if json:
        say_json(page.jobs)
        return DONE
    table = Table(Column("Job", no_wrap=True, min_width=36), box=None, pad_edge=False)
    for title in ("Status", "%", "Name", "Begun"):
        table.add_column(title)
    for each in page.jobs:
        begun = f"{each.created_at.astimezone():%Y-%m-%d %H:%M}"
        doubtful = ", doubtful" if each.is_doubtful else ""
        row = (each.status + doubtful, str(each.progress), each.display_name or "", begun)
        table.add_row(each.job_id, *row)
    console(stderr=False).print(table)
    if page.next_cursor is not None:
        note(f"There are more; see them with --limit {limit * 5}.")
    return DONE


def get(job: str, *, out: Path | None = None, kind: Kind = "output") -> int:
    """Save a file of a job.

    Example: `pro-video get 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a --out new.mp4`

    Args:
        job: Its id.
        out: Save it here; by default in this folder, under the job's id.
        kind: The result; the lip-sync result of a failed text removal; a rejected result; the
            picture before and after.
    """
    out = out or Path(f"{Path(job).name}.{'jpg' if kind == 'preview' else 'mp4'}")
    with connect() as client:
        save(client, job, out, kind)
    say(str(out))
    return DONE


def open_job(job: str) -> int:
    """Play the result of a job in the browser.

    Example: `pro-video open 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a`

    Args:
        job: Its id.
    """
    with connect() as client:
        found = client.get(job)
    url = found.output_url or found.rejected_url or found.fallback_url
    if url is None:
        raise CommandError(f"The job has no video: {found.message}")
    if not webbrowser.open(url):
        say(url)
    return DONE


def cancel(job: str, *, json: bool = False) -> int:
    """Cancel a job; work that a provider has begun goes on there and is billed.

    Example: `pro-video cancel 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a`

    Args:
        job: Its id.
        json: Print JSON.
    """
    with connect() as client:
        _say(client.cancel(job), json=json)
    return DONE


def retry(job: str, *, json: bool = False) -> int:
    """Retry a failed or cancelled job; finished stages are kept and not paid again.

    Example: `pro-video retry 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a`

    Args:
        job: Its id.
        json: Print JSON.
    """
    with connect() as client:
        _say(client.retry(job), json=json)
    return DONE


def accept(job: str, *, json: bool = False) -> int:
    """Use a job's rejected result as it is; nothing is bought again.

    Example: `pro-video accept 0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a`

    Args:
        job: Its id.
        json: Print JSON.
    """
    with connect() as client:
        _say(client.accept(job), json=json)
    return DONE


def _say(job: Job, *, json: bool) -> None:
    if json:
        say_json(job)
    else:
        say_job(job)
