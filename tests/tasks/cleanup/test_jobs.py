"""The cleanup of real jobs: what is left of them, and what their retry buys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import get_client

from pro_video.core.job_names import FileKind, JobKeys
from tasks.cleanup.plan import Wish
from tasks.cleanup.remove import clean_up
from tasks.cleanup.summary import ARTIFACT_KEY, Summary
from tasks.connections.connections import connections
from tests.flows.test_editor_jobs import area
from tests.flows.test_provider_faults import fault, of_job
from tests.flows.test_stops import CANCEL_SECONDS
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs

pytestmark = pytest.mark.timeout(1000)

# A failure that is not retried by itself.
DENIED = fault("job", "failed", code="generation_input_video_invalid")
ALL: tuple[FileKind, ...] = ("intermediates", "records", "results", "sources")
# Beyond every window.
LATER = timedelta(days=31)


@dataclass
class Past:
    """Jobs that have ended, by name, with what they had cost then."""

    jobs: Jobs
    ids: dict[str, str]
    paid: dict[str, dict[str, tuple[int, int]]]
    parameters: dict[str, Any]


@background_job
def past_jobs(resources: Resources) -> Past:
    """Jobs with every kind of end."""
    jobs = resources.jobs
    mark = area("erase", resources.tiny.watermark_region, 0.0, None)
    chained = {**resources.tiny_parameters, "annotation_areas": [mark]}
    # A lip-sync that the new job below would take over.
    parameters = {**chained, "temperature": 0.271828}
    ids = {
        "lip-sync": jobs.prepare(resources.tiny_parameters),
        "chained": jobs.prepare(parameters),
        "failed lip-sync": jobs.prepare(chained),
        "failed text removal": jobs.prepare(chained),
        "refused": jobs.prepare({**chained, "video": "/nowhere.mp4"}),
        "unfetched": jobs.prepare(resources.tiny_parameters),
    }
    jobs.plan_faults("sync_so", *of_job(ids["failed lip-sync"], [DENIED]))
    jobs.plan_faults("sync_so", *of_job(ids["unfetched"], [fault("job", "slow", seconds=30)]))
    jobs.plan_faults(
        "ghostcut", *of_job(ids["failed text removal"], [fault("job", "failed", status=20)])
    )
    jobs.finish([], prepared=[each for name, each in ids.items() if name != "unfetched"])
    jobs.release(ids["unfetched"])
    jobs.until_accepted("sync_so", ids["unfetched"])
    jobs.cancel(ids["unfetched"])
    jobs.until_state(ids["unfetched"], "Cancelled", CANCEL_SECONDS)
    return Past(jobs, ids, {name: jobs.paid(each) for name, each in ids.items()}, parameters)


def left_of(jobs: Jobs, job_id: str) -> set[str]:
    """All objects of a job, and the results of its runs."""
    found = set()
    for prefix in (JobKeys(job_id).prefix, JobKeys(job_id).record("")):
        answer = jobs.s3.list_objects_v2(Bucket=jobs.stack.bucket, Prefix=prefix)
        found |= {entry["Key"] for entry in answer.get("Contents", [])}
    runs = [job_id, *(str(run.id) for run in jobs.subflows(job_id))]
    results = [state.data for run in runs for state in jobs.history(run) if state.data]
    for key in (f"results/{data.storage_key}" for data in results):
        if jobs.s3.list_objects_v2(Bucket=jobs.stack.bucket, Prefix=key).get("Contents"):
            found.add(key)
    return found


async def clean(past: Past, *kinds: FileKind) -> Summary:
    """Clean up the past jobs alone, later: other tests share the bucket."""
    wish = Wish(timedelta(days=2), kinds, set(past.ids.values()), dry_run=False)
    summary = Summary(dry_run=False)
    storage = (await connections()).storage
    async with get_client() as client:
        await clean_up(client, storage, wish, summary, now=datetime.now(UTC) + LATER)
    return summary


async def test_a_cleanup_leaves_what_the_documents_say_and_a_retry_buys_nothing(
    background_jobs: BackgroundJobs,
) -> None:
    past = background_jobs.result(past_jobs)
    jobs, ids = past.jobs, past.ids
    unfetched = left_of(jobs, ids["unfetched"])

    await clean(past, "intermediates", "records", "sources")
    left = {name: left_of(jobs, each) for name, each in ids.items()}
    of = {name: JobKeys(each) for name, each in ids.items()}
    assert left.pop("unfetched") == unfetched
    assert {name: keys - {of[name].preview, of[name].report} for name, keys in left.items()} == {
        "lip-sync": {of["lip-sync"].lip_sync_result},
        "chained": {of["chained"].final_result},
        "failed lip-sync": set(),
        # The fallback.
        "failed text removal": {of["failed text removal"].lip_sync_result},
        "refused": set(),
    }
    await clean(past, *ALL)
    assert {name: left_of(jobs, each) for name, each in ids.items() if name != "unfetched"} == {
        name: set() for name in left
    }

    # Prefect itself refuses a retry of a completed job.
    jobs.release(*ids.values())
    again = jobs.prepare(past.parameters | {"annotation_areas": []})
    jobs.release(again)
    jobs.finish([*ids.values(), again])
    for name in ("failed lip-sync", "failed text removal", "refused"):
        message = jobs.state(ids[name]).message or ""
        assert message.startswith("Not begun: The cleanup of "), name
        assert message.endswith("It cannot go on; start a new job, which buys anew."), name
        assert left_of(jobs, ids[name]) == set()
    # Its generation is billed once it has ended.
    fetched = {"unfetched": {"sync_so": (1, 1), "ghostcut": (0, 0)}}
    assert {name: jobs.paid(each) for name, each in ids.items()} == past.paid | fetched
    assert jobs.state(ids["unfetched"]).is_completed()
    # Nor does a removed lip-sync harm a new job that would take it over.
    assert jobs.state(again).is_completed()
    assert jobs.paid(again)["sync_so"] == (1, 1)


def test_a_dry_run_of_the_deployment_shows_a_table(background_jobs: BackgroundJobs) -> None:
    past = background_jobs.result(past_jobs)
    job_id = past.ids["unfetched"]
    run = past.jobs.start({"age_days": 2, "jobs": [job_id]}, "pro-video-cleanup/local")
    past.jobs.finish([run])
    assert past.jobs.state(run).message == (
        "Would remove 0 objects (0.0 MB) of 0 jobs; 1 jobs stay"
    )
    [artifact] = past.jobs.artifacts(ARTIFACT_KEY, run)
    assert '"1 jobs stay"' in artifact["data"]
