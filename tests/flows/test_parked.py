"""Jobs that leave the worker's process while their providers work."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from pro_video.core.progress import Stage
from tasks.connections.run_history import RunHistory, parked_in
from tests.flows.test_provider_faults import fault, of_job
from tests.flows.test_stops import BOTH, LIP_SYNC_ONLY, chained, worker
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs
from tests.support.stack import wait_until

pytestmark = pytest.mark.timeout(1000)

POOL = "parked"
STAGES = {Stage.LIP_SYNC_PROCESSING, Stage.INPAINTING_PROCESSING}


def parked_stages(states: list[State[Any]]) -> set[Stage]:
    return {stage for stage in map(parked_in, states) if stage is not None}


def log_levels(jobs: Jobs, *run_ids: str) -> set[int]:
    lines = jobs.rows("/logs/filter", logs={"flow_run_id": {"any_": list(run_ids)}})
    return {line["level"] for line in lines}


@background_job
def parked_jobs(resources: Resources) -> None:
    jobs = resources.jobs
    jobs.make_pool(POOL, "pro-video")
    chain = jobs.prepare(chained(resources), f"pro-video/{POOL}")
    cancelled = jobs.prepare(resources.tiny_parameters, f"pro-video/{POOL}")
    jobs.plan_faults("sync_so", *of_job(cancelled, [fault("job", "slow", seconds=60)]))
    for provider in ("sync_so", "ghostcut"):
        jobs.plan_faults(provider, *of_job(chain, [fault("job", "slow", seconds=25)]))
    with worker(jobs.stack, POOL, PRO_VIDEO_PARK_AFTER_SECONDS="0"):
        jobs.release(cancelled, chain)
        cancelled_while_parked(jobs, cancelled)
        jobs.finish([chain])
        goes_on_in_each_stage(jobs, chain)
        # What the cancelled one has bought is picked up.
        jobs.release(cancelled)
        jobs.finish([cancelled])
    assert jobs.state(cancelled).message == LIP_SYNC_ONLY
    assert jobs.paid(cancelled) == {"sync_so": (1, 1), "ghostcut": (0, 0)}


def cancelled_while_parked(jobs: Jobs, job_id: str) -> None:
    wait_until(
        lambda: parked_in(jobs.state(job_id)) is not None, 300, "the job is parked", pause=0.2
    )
    generation = jobs.until_accepted("sync_so", job_id)["id"]
    jobs.cancel(job_id)
    jobs.until_state(job_id, "Cancelled")
    message = jobs.state(job_id).message or ""
    lead = f"Cancelled during: Lip-sync processing. Sync.so generation {generation} goes on at the "
    assert message.startswith(f"{lead}provider and is billed (")
    assert message.endswith("; retry this run to fetch its result.")
    report = jobs.report(job_id)
    assert (report["status"], report["message"]) == ("cancelled", message)
    assert report["metadata"]["segments_count"] == 2
    [shown] = jobs.artifacts("pro-video-report", job_id)
    assert shown["description"] == message


def goes_on_in_each_stage(jobs: Jobs, job_id: str) -> None:
    states = jobs.history(job_id)
    assert states[-1].message == BOTH
    assert jobs.paid(job_id) == {"sync_so": (1, 1), "ghostcut": (1, 1)}
    assert parked_stages(states) == STAGES
    history = RunHistory.of(states)
    assert (history.retries, history.losses, history.starts) == (0, 0, 1)
    # What is over is not shown again.
    names = [state.name for state in states if state.type is StateType.RUNNING]
    assert names.count("Uploading") == names.count("Lip-sync completed") == 1
    [subflow] = jobs.subflows(job_id)
    assert subflow.state is not None
    assert subflow.state.is_completed()
    assert parked_stages(jobs.history(str(subflow.id))) == {Stage.INPAINTING_PROCESSING}
    [progress] = jobs.artifacts("pro-video-progress", job_id)
    assert progress["data"] == 100
    assert max(log_levels(jobs, job_id, str(subflow.id))) < logging.ERROR


def test_a_parked_job_goes_on_is_cancelled_and_retried(background_jobs: BackgroundJobs) -> None:
    background_jobs.result(parked_jobs)
