"""Many jobs at once: the default stack takes every one of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.flows.test_provider_faults import fault, of_job
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.stack import wait_until

pytestmark = pytest.mark.timeout(1000)

WAITING = 20
AT_ONCE = 8
CREATED = 24


@background_job
def burst_beside_waiting_jobs(resources: Resources) -> list[int]:
    """Statuses of the answers to creations, each made once, while jobs wait for Sync.so."""
    jobs = resources.jobs
    waiting = [jobs.prepare(resources.tiny_parameters) for _ in range(WAITING)]
    for job_id in waiting:
        jobs.plan_faults("sync_so", *of_job(job_id, [fault("job", "slow", seconds=3600)]))
    jobs.release(*waiting)

    def all_wait() -> bool:
        entries = jobs.stack.control("sync_so", "audit")["jobs"]
        taken = [entry["reference"] or "" for entry in entries]
        return all(any(job_id in each for each in taken) for job_id in waiting)

    wait_until(all_wait, 300, "all jobs wait for their provider", pause=1)
    found = jobs.api(lambda client: client.read_deployment_by_name("pro-video/local"))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {
        "parameters": resources.tiny_parameters,
        "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": tomorrow}},
    }
    with httpx.Client(base_url=jobs.stack.api_url, timeout=100, trust_env=False) as client:

        def create(_: int) -> int:
            url = f"/deployments/{found.id}/create_flow_run"
            return client.post(url, json=body).status_code

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(create, range(CREATED)))
    names = {jobs.state(job_id).name for job_id in waiting}
    assert names == {"Lip-sync processing"}
    for job_id in waiting:
        jobs.cancel(job_id)
    jobs.finish(waiting)
    return answers


def test_no_creation_is_refused_while_jobs_wait(background_jobs: BackgroundJobs) -> None:
    assert background_jobs.result(burst_beside_waiting_jobs) == [httpx.codes.CREATED] * CREATED
