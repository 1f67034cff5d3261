"""The requests to Prefect, and the task runs, that one lip-sync costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from tests.support.background_jobs import BackgroundJobs, Resources, background_job


@background_job
def counted(resources: Resources) -> tuple[str, dict[str, int]]:
    """A job in a process of its own; its id and its requests by path."""
    jobs = resources.jobs
    job_id = jobs.prepare(resources.tiny_parameters)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.flows.counted_job", job_id],
        env={**os.environ, "PREFECT_API_URL": jobs.stack.api_url},
        stdout=subprocess.PIPE,
        check=True,
    )
    return job_id, json.loads(ended.stdout)


def test_a_lip_sync_costs_a_bounded_number_of_requests_and_four_task_runs(
    background_jobs: BackgroundJobs,
) -> None:
    job_id, asked = background_jobs.result(counted)
    of_job = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(job_id)]))
    tasks = background_jobs.resources.jobs.api(
        lambda client: client.read_task_runs(flow_run_filter=of_job)
    )
    names = {each.name.rpartition("-")[0] for each in tasks}
    assert names == {"upload", "lip-sync: submit", "lip-sync: wait", "lip-sync: store"}
    blocks = sum(number for path, number in asked.items() if "/block_" in path)
    assert blocks == 4, "once for the process"
    assert sum(asked.values()) - blocks <= 24, asked
