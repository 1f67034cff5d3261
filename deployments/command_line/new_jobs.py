"""``run``, ``estimate`` and ``check``: a request, its price, and its job."""

from __future__ import annotations

import sys
from pathlib import Path

from deployments.command_line.connection import connect
from deployments.command_line.display import file_bars
from deployments.command_line.follow import follow_to_end
from deployments.command_line.output import (
    DONE,
    REFUSED,
    CommandError,
    note,
    note_warnings,
    say,
    say_estimate,
    say_json,
)
from deployments.command_line.request_options import RequestOptions
from pro_video.client import Client, Estimate, JobRequest, Refused


def run(
    video: str,
    options: RequestOptions,
    *,
    out: Path | None = None,
    detach: bool = False,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Run a job and follow it to its end.

    Uploads local files, shows the price, asks in a terminal, and saves the result. The exit status
    is 0 done, 1 failed, 2 refused, 3 doubtful. Ctrl-C asks whether to cancel the job or to leave it
    running.

    Example: `pro-video run clip.mp4 --segment 1.0-3.5=line.wav --erase-text subtitles --out r.mp4`

    Args:
        video: A file, or upload:ID, s3://… or https://….
        out: Save the result here; without it its link is shown.
        detach: Return as soon as the job is begun.
        yes: Do not ask.
        json: Print the job as JSON; does not ask.
    """
    request = options.request(video)
    if out is not None and not out.resolve().parent.is_dir():
        raise CommandError(f"There is no folder for {out}.")
    with connect() as client:
        request = _uploaded(client, request)
        if not _approved(client, request, ask=not (yes or json)):
            return REFUSED
        job_id = client.create(request).job_id
        if not detach:
            note(f"Job {job_id}")
            return follow_to_end(client, job_id, out=out, json=json)
        if json:
            say_json(client.get(job_id))
        else:
            say(job_id)
        return DONE


def estimate(video: str, options: RequestOptions, *, json: bool = False) -> int:
    """Say what a job would cost; nothing is begun or paid.

    Example: `pro-video estimate clip.mp4 --segment 1.0-3.5=line.wav --erase-text subtitles`

    Args:
        video: A file, or upload:ID or s3://….
        json: Print JSON.
    """
    found = _estimated(video, options)
    if json:
        say_json(found)
    else:
        say_estimate(found)
    return DONE if found.within_max_cost is not False else _too_expensive(found, options.max_cost)


def check(video: str, options: RequestOptions, *, json: bool = False) -> int:
    """Check a job's request and its files; nothing is begun or paid.

    Example: `pro-video check clip.mp4 --segment 1.0-3.5=line.wav`

    Args:
        video: A file, or upload:ID or s3://….
        json: Print the warnings as JSON.
    """
    warnings = _estimated(video, options).warnings
    if json:
        say_json(warnings)
    else:
        note_warnings(warnings)
        say("The request is right.")
    return DONE


def _estimated(video: str, options: RequestOptions) -> Estimate:
    request = options.request(video)
    with connect() as client:
        return client.estimate(_uploaded(client, request))


def _uploaded(client: Client, request: JobRequest) -> JobRequest:
    with file_bars("Uploading") as show:
        return client.upload_files(request, show)


def _approved(client: Client, request: JobRequest, *, ask: bool) -> bool:
    """Show the price; whether the job may begin."""
    try:
        found = client.estimate(request)
    except Refused as refused:
        if {error.code for error in refused.errors} != {"source_not_read"}:
            raise
        note("The price is not known before the job has read the files behind its links.")
    else:
        if found.within_max_cost is False:
            _too_expensive(found, request.options["max_cost_usd"])
            return False
        note(f"Estimate {found.text}")
        note_warnings(found.warnings)
    if not (ask and sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    sys.stderr.write("Begin? (y/N) ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower().startswith("y"):
        return True
    note("Nothing was begun.")
    return False


def _too_expensive(found: Estimate, limit: float | None) -> int:
    note(f"The job may cost {found.text}, and the limit is {limit} USD (--max-cost).")
    return REFUSED
