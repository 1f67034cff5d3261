"""The words for a job that failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pro_video.core.errors import (
    DiedTooOften,
    FieldProblem,
    ProVideoError,
    RequestRefused,
    StorageRefused,
)
from pro_video.core.job_names import CLEANED_LABEL
from pro_video.core.progress import Stage
from pro_video.records import Cleaned
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


async def test_a_cleaned_job_begins_nothing_and_keeps_its_report(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = Cleaned(at=datetime(2026, 11, 28, tzinfo=UTC), kinds=("records", "sources"))

    async def labels(job_id: str) -> dict[str, str]:
        return {CLEANED_LABEL: cleaned.model_dump_json()}

    monkeypatch.setattr("tasks.run.job.read_labels", labels)
    # Without a connection: a report could not be written.
    job = replace(job, reporter=ProgressReporter(job.job_id, clock=job.clock))
    async with ending.ending(job) as end:
        await job.begin()
    assert end.final.is_failed()
    assert end.final.message == (
        "Not begun: The cleanup of 2026-11-28 removed files of this job (records, sources). It "
        "cannot go on; start a new job, which buys anew."
    )
