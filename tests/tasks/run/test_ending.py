"""The words for a job that failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pro_video.core.errors import (
    DiedTooOften,
    FieldProblem,
    ProVideoError,
    RequestRefused,
    StorageRefused,
)
from pro_video.core.progress import Stage
from tasks.run import ending
from tasks.run.job import Job
from tasks.run.progress import ProgressReporter


@pytest.mark.parametrize(
    ("error", "lead"),
    [
        (StorageRefused("This job began in another bucket."), "Not begun: This job began in"),
        (DiedTooOften("The process was lost."), "Not begun: The process"),
        (RequestRefused([FieldProblem("video", "It is none.")]), "Request refused: "),
    ],
)
def test_a_job_that_entered_no_stage_is_no_failed_upload(
    job: Job, error: ProVideoError, lead: str
) -> None:
    job = replace(job, reporter=ProgressReporter(job.job_id, clock=job.clock))
    told = ending._error(job, error)
    assert told.message.startswith(lead)
    assert told.stage == Stage.UPLOADING.label
