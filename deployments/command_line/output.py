"""Text and JSON of the commands: results on the standard output, everything else on the standard
error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel

from pro_video.client import Estimate, Job, JobSummary, Problem
from pro_video.core.job_warning import JobWarning

DONE: Final = 0
FAILED: Final = 1
REFUSED: Final = 2
DOUBTFUL: Final = 3
INTERRUPTED: Final = 130

_FIELD = re.compile(r"(segments|segments_data|effects|annotation_areas)\[(\d+)\](\.?)")


class CommandError(Exception):
    """The command cannot be carried out as it was given."""


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """A line about the way."""
    sys.stderr.write(f"{text}\n")


def say_json(content: BaseModel | Iterable[BaseModel], *, indent: int | None = 2) -> None:
    """A model, or a list of them."""
    if isinstance(content, BaseModel):
        say(content.model_dump_json(indent=indent))
    else:
        say(json.dumps([each.model_dump(mode="json") for each in content], indent=indent))


def exit_status(job: JobSummary) -> int:
    """The exit status for a job that has ended."""
    error = job.error if isinstance(job, Job) else None
    if job.status == "completed":
        return DOUBTFUL if job.is_doubtful else DONE
    if error is not None and error.code == "output_held":
        return DOUBTFUL
    if error is not None and error.message.startswith("Request refused"):
        return REFUSED
    return FAILED


def say_job(job: Job) -> None:
    """A job for people."""
    bought = None if job.estimated_cost_usd is None else f"{job.estimated_cost_usd:.2f} USD"
    changes = [("accept", job.accept_url), ("retry", job.retry_url)]
    rows = [
        ("Job", job.job_id),
        ("Name", job.display_name),
        ("Status", f"{job.status}, {job.progress} %"),
        ("Message", job.message),
        ("Estimate", job.estimate and job.estimate.text),
        ("Bought", bought),
        *(("Warning", _warning(warning)) for warning in job.warnings),
        ("Result", job.output_url),
        ("Fallback", job.fallback_url),
        ("Rejected", job.rejected_url),
        *(("Next", f"pro-video {name} {job.job_id}") for name, url in changes if url),
    ]
    for name, value in rows:
        if value is not None:
            say(f"{name:9}{value}")


def say_estimate(estimate: Estimate) -> None:
    """A price for people."""
    say(f"Estimate {estimate.text}")
    for stage in estimate.stages:
        say(f"  {stage.stage} at {stage.provider}: {stage.basis}")
    note_warnings(estimate.warnings)


def note_warnings(warnings: Iterable[JobWarning]) -> None:
    """Warnings for people."""
    for warning in warnings:
        note(f"Warning: {_warning(warning)}")


def note_problem(problem: Problem) -> None:
    """A refusal for people: each wrong field, counted from 1 as on the command line."""
    note("The request was refused:" if problem.errors else problem.detail)
    for each in problem.errors:
        note(f"  {_counted(each.field)}: {_counted(each.message)}")
    if problem.request_id is not None:
        note(f"  request id {problem.request_id}")


def _counted(text: str) -> str:
    """``segments_data[0].endTime`` as ``segment 1, endTime``."""

    def word(found: re.Match[str]) -> str:
        name = "segment" if found[1].startswith("segments") else "area"
        return f"{name} {int(found[2]) + 1}{', ' if found[3] else ''}"

    return _FIELD.sub(word, text)


def _warning(warning: JobWarning) -> str:
    times = ""
    if warning.start is not None:
        end = "" if warning.end is None else f"{warning.end:g}"
        times = f" ({warning.start:g}-{end} s)"
    return f"{_counted(warning.message)}{times} [{warning.code}]"
