"""Jobs with a process each, in Prefect's own process pool."""

from __future__ import annotations

import pytest

from deployments.register import ISOLATED
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.commands import running_python

pytestmark = pytest.mark.timeout(1000)


@background_job
def isolated_job(resources: Resources) -> None:
    jobs = resources.jobs
    stack = jobs.stack
    start = ("prefect", "worker", "start", "--pool", ISOLATED, "--type", "process")
    log = stack.folder / "logs/isolated.log"
    with running_python("-m", *start, env=stack.process_environment(), log=log):
        job_id = jobs.start(resources.tiny_parameters, "pro-video/isolated")
        jobs.finish([job_id])
    state = jobs.state(job_id)
    assert (state.name, state.message) == (
        "Completed",
        "Pro video processing completed (lip-sync only)",
    )
    assert jobs.paid(job_id)["sync_so"] == (1, 1)
    assert f"pro_sync_result_{job_id}.mp4" in jobs.objects(job_id)


def test_a_job_runs_in_a_process_of_its_own(background_jobs: BackgroundJobs) -> None:
    background_jobs.result(isolated_job)
