"""Jobs that are cancelled, run into their deadline or lose their worker, and their retries: what
was bought is picked up, and nothing is bought twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.flows.test_editor_jobs import area
from tests.flows.test_provider_faults import fault, of_job
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs
from tests.support.stack import LocalStack, wait_until
from tests.support.workers.replicas import Replica, replicas, restart_replicas

pytestmark = pytest.mark.timeout(1000)

LIP_SYNC_ONLY = "Pro video processing completed (lip-sync only)"
BOTH = "Pro video processing completed (lip-sync + text inpainting)"
# Between the button and the end of the job; the worker looks several times a second.
CANCEL_SECONDS = 150


def chained(resources: Resources) -> dict[str, Any]:
    """Parameters of a job with a text removal."""
    mark = area("erase", resources.tiny.watermark_region, 0.0, None)
    return {**resources.tiny_parameters, "annotation_areas": [mark]}


def ended_at(jobs: Jobs, provider: str, job_id: str) -> str:
    """The status of a job's first attempt at a provider, in words."""
    return str(jobs.audit(provider, job_id)[0]["status"])


@background_job
def cancelled_lip_sync(resources: Resources) -> None:
    jobs = resources.jobs
    speaker = {"method": "point", "x": 0.25, "y": 0.5, "at": 1.0}
    job_id = jobs.prepare({**resources.tiny_parameters, "active_speaker": speaker})
    jobs.plan_faults("sync_so", *of_job(job_id, [fault("job", "slow", seconds=30)]))
    jobs.release(job_id)
    jobs.until_state(job_id, "Lip-sync processing")
    accepted = jobs.until_accepted("sync_so", job_id)
    generation = accepted["id"]
    # 160x90 pixels at 25 frames a second.
    selection = {"frame_number": 25, "coordinates": [40, 45]}
    assert accepted["options"]["active_speaker_detection"] == selection
    # The wait has to stand: the message names what it waits for.
    wait_until(
        lambda: ended_at(jobs, "sync_so", job_id) == "PROCESSING", 60, "the generation is at work"
    )
    jobs.cancel(job_id)
    jobs.until_state(job_id, "Cancelled", CANCEL_SECONDS)
    assert re.fullmatch(
        f"Cancelled during: Lip-sync processing\\. Sync\\.so generation {generation} goes on "
        r"at the provider and is billed \(0\.0\d to 0\.\d\d USD\); "
        r"retry this run to fetch its result\.",
        jobs.state(job_id).message or "",
    )
    wait_until(lambda: jobs.paid(job_id)["sync_so"] == (1, 1), 60, "the provider goes on")
    jobs.release(job_id)
    jobs.finish([job_id])
    assert jobs.state(job_id).message == LIP_SYNC_ONLY
    assert jobs.paid(job_id) == {"sync_so": (1, 1), "ghostcut": (0, 0)}


def test_a_cancelled_lip_sync_is_picked_up_by_a_retry(background_jobs: BackgroundJobs) -> None:
    background_jobs.result(cancelled_lip_sync)


@background_job
def cancelled_text_removal(resources: Resources) -> None:
    jobs = resources.jobs
    job_id = jobs.prepare(chained(resources))
    jobs.plan_faults("ghostcut", *of_job(job_id, [fault("job", "slow", seconds=12)]))
    jobs.release(job_id)
    jobs.until_state(job_id, "Text inpainting")
    work = jobs.until_accepted("ghostcut", job_id)["id"]
    [subflow] = jobs.subflows(job_id)
    wait_until(
        lambda: f"GhostCut task created: {work}" in jobs.log(str(subflow.id)),
        60,
        "the wait",
        pause=0.4,
    )
    jobs.cancel(job_id)
    jobs.until_state(job_id, "Cancelled", CANCEL_SECONDS)
    message = jobs.state(job_id).message or ""
    assert message.startswith("Cancelled during: Text inpainting. ")
    assert f"GhostCut work {work} goes on at the provider" in message
    jobs.release(job_id)
    jobs.finish([job_id])
    assert jobs.state(job_id).message == BOTH
    assert jobs.paid(job_id) == {"sync_so": (1, 1), "ghostcut": (1, 1)}


def test_a_cancelled_text_removal_is_picked_up_by_a_retry(background_jobs: BackgroundJobs) -> None:
    background_jobs.result(cancelled_text_removal)


@background_job
def retried_text_removal(resources: Resources) -> None:
    jobs = resources.jobs
    job_id = jobs.prepare(chained(resources))
    jobs.plan_faults("ghostcut", *of_job(job_id, [fault("job", "failed", status=20)]))
    jobs.release(job_id)
    jobs.finish([job_id])
    assert (jobs.state(job_id).message or "").startswith("Text inpainting failed: ")
    assert jobs.paid(job_id) == {"sync_so": (1, 1), "ghostcut": (1, 0)}
    bought = jobs.result(job_id).stages["lip-sync"]
    jobs.release(job_id)
    jobs.finish([job_id])
    assert jobs.state(job_id).message == BOTH
    assert jobs.paid(job_id) == {"sync_so": (1, 1), "ghostcut": (2, 1)}
    result = jobs.result(job_id)
    assert result.stages["lip-sync"] == bought
    assert result.fallback_key is None


def test_a_retry_after_a_failed_text_removal_buys_no_second_lip_sync(
    background_jobs: BackgroundJobs,
) -> None:
    background_jobs.result(retried_text_removal)


# Workers of their own, with settings that the shared one must not have


@contextmanager
def worker(stack: LocalStack, pool: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the pool, as ``prefect worker start`` makes it in the background of a script:
    there, shells let SIGINT be ignored."""
    with stack.log.open("ab") as log:
        process = subprocess.Popen(
            [
                *("sh", "-c", 'trap "" INT; exec "$@"', "sh"),
                *(sys.executable, "-m", "prefect", "worker", "start"),
                *("--pool", pool, "--type", "pro-video"),
            ],
            env={**stack.process_environment(), **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(100)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@background_job
def jobs_past_their_deadline(resources: Resources) -> None:
    jobs, tiny, pool = resources.jobs, resources.tiny, "short-deadlines"
    jobs.make_pool(pool, "pro-video", "text-inpainting")
    mark = area("erase", tiny.watermark_region, 0.0, None)
    lip = jobs.prepare(resources.tiny_parameters, f"pro-video/{pool}")
    removal = jobs.prepare(
        {"video": str(tiny.clip), "annotation_areas": [mark]}, f"text-inpainting/{pool}"
    )
    jobs.plan_faults("sync_so", *of_job(lip, [fault("job", "stuck")]))
    jobs.plan_faults("ghostcut", *of_job(removal, [fault("job", "stuck")]))
    # Parked at once: the runs begin again at their deadlines by themselves.
    seconds = {"PRO_VIDEO_PARK_AFTER_SECONDS": "0", "PRO_VIDEO_LIP_SYNC_DEADLINE_HOURS": "0.001"}
    seconds |= {"PRO_VIDEO_INPAINTING_DEADLINE_HOURS": "0.001"}
    with worker(jobs.stack, pool, **seconds):
        for _ in range(2):
            # The second time is a retry: it waits for the same provider job again.
            jobs.finish([], prepared=[lip, removal])
            generation = jobs.audit("sync_so", lip)[0]["id"]
            work = jobs.audit("ghostcut", removal)[0]["id"]
            for job_id, lead, what in (
                (lip, "Lip-sync failed: ", f"Sync.so generation {generation}"),
                (removal, "Text inpainting failed: ", f"GhostCut work {work}"),
            ):
                message = jobs.state(job_id).message or ""
                assert message.startswith(f"{lead}No result of {what} within ")
                assert "it may still go on" in message
                error = jobs.result(job_id).error
                assert error is not None
                assert (error.kind, error.code) == ("DeadlineExceeded", "deadline_exceeded")
    assert jobs.paid(lip)["sync_so"] == (1, 0)
    assert jobs.paid(removal)["ghostcut"] == (1, 0)


def test_a_deadline_ends_the_wait_and_not_the_providers_job(
    background_jobs: BackgroundJobs,
) -> None:
    background_jobs.result(jobs_past_their_deadline)


@background_job
def stopping_worker(resources: Resources) -> None:
    jobs, pool = resources.jobs, "stopping"
    jobs.make_pool(pool, "pro-video", "text-inpainting")
    job_id = jobs.prepare(resources.tiny_parameters, f"pro-video/{pool}")
    jobs.plan_faults("sync_so", *of_job(job_id, [fault("job", "slow", seconds=30)]))
    jobs.release(job_id)
    with worker(jobs.stack, pool) as first:
        generation = jobs.until_accepted("sync_so", job_id)["id"]
        wait_until(
            lambda: ended_at(jobs, "sync_so", job_id) == "PROCESSING", 60, "the job is waiting"
        )
        first.terminate()
        assert first.wait(100) == 0
    state = jobs.state(job_id)
    assert state.is_scheduled()
    assert state.message == (
        f"Handed over by a worker that stops; Sync.so generation {generation} goes on"
    )
    with worker(jobs.stack, pool):
        jobs.finish([job_id])
    assert jobs.state(job_id).message == LIP_SYNC_ONLY
    assert jobs.paid(job_id) == {"sync_so": (1, 1), "ghostcut": (0, 0)}
    assert [entry["id"] for entry in jobs.audit("sync_so", job_id)] == [generation]


def test_a_stopping_worker_hands_its_job_over(background_jobs: BackgroundJobs) -> None:
    background_jobs.result(stopping_worker)


@background_job
def replicas_of_one_host(resources: Resources) -> None:
    jobs, pool = resources.jobs, "replicas"
    jobs.make_pool(pool, "pro-video")
    job_ids = [jobs.prepare(resources.tiny_parameters, f"pro-video/{pool}") for _ in range(2)]
    for job_id in job_ids:
        jobs.plan_faults("sync_so", *of_job(job_id, [fault("job", "slow", seconds=3600)]))
    folder = resources.folder
    first = Replica(jobs.stack, pool, log=folder / "first.log")
    second = Replica(jobs.stack, pool, log=folder / "second.log", home=folder / "home")
    with replicas(first, second):
        restart_replicas(jobs, job_ids, first, second, restarts=2)
        for job_id in job_ids:
            jobs.cancel(job_id)
            jobs.until_state(job_id, "Cancelled", CANCEL_SECONDS)


def test_replicas_of_one_host_take_no_living_job_for_lost(
    background_jobs: BackgroundJobs,
) -> None:
    background_jobs.result(replicas_of_one_host)
