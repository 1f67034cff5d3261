"""Follows a job until its end; Ctrl-C asks whether to cancel it or to leave it running."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from deployments.command_line.display import StageBars, file_bars
from deployments.command_line.output import (
    DONE,
    INTERRUPTED,
    exit_status,
    note,
    say,
    say_job,
    say_json,
)
from pro_video.client import Client, Conflict, Job
from pro_video.client.async_client import Kind


class Detached(Exception):
    """The user left the job running."""


def follow_to_end(client: Client, job_id: str, *, out: Path | None, json: bool) -> int:
    """Follow a job, save its result, and say how it ended.

    Args:
        client: of the API.
        job_id: of the job.
        out: file for the result; None: its link is shown.
        json: print the job as JSON.

    Returns:
        The exit status.
    """
    try:
        job = _follow(client, job_id)
    except Detached:
        note(f"The job goes on. Follow it again: pro-video watch {job_id}")
        return INTERRUPTED
    if out is not None and job.output_url is not None:
        save(client, job_id, out)
    if json:
        say_json(job)
    elif exit_status(job) == DONE and out is not None:
        say(f"{job.message}: {out}")
    else:
        say_job(job)
    return exit_status(job)


def save(client: Client, job_id: str, out: Path, kind: Kind = "output") -> None:
    """Download a file of a job, with a bar."""
    with file_bars("Saving") as show:
        client.download(job_id, out, kind=kind, progress=partial(show, out))


def _follow(client: Client, job_id: str) -> Job:
    while True:
        try:
            with StageBars() as bars:
                for event in client.watch(job_id):
                    bars.show(event)
            return client.get(job_id)
        except KeyboardInterrupt:
            _cancel_or_detach(client, job_id)


def _cancel_or_detach(client: Client, job_id: str) -> None:
    """Cancel a job if the user says so.

    Raises:
        Detached: the user does not.
    """
    try:
        if not sys.stdin.isatty():
            raise Detached
        sys.stderr.write("\nCancel the job (c), or leave it running (Enter, or Ctrl-C again)? ")
        sys.stderr.flush()
        if not sys.stdin.readline().strip().lower().startswith("c"):
            raise Detached
        client.cancel(job_id)
    except KeyboardInterrupt:
        note("")
        raise Detached from None
    except Conflict:
        # It has ended meanwhile.
        return
