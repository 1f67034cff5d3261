"""Providers that refuse, fail, lose answers, break transfers and deliver damaged results: how each
job ends, what it says, and what was paid. All jobs run side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.flows.test_editor_jobs import area
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs

pytestmark = pytest.mark.timeout(1000)

LIP_SYNC_ONLY = "Pro video processing completed (lip-sync only)"
BOTH = "Pro video processing completed (lip-sync + text inpainting)"
REMOVED = "Text inpainting completed"

Fault = dict[str, Any]


def fault(call: str, kind: str, **more: Any) -> Fault:
    return {"call": call, "kind": kind, **more}


@dataclass(frozen=True)
class Case:
    """One job: what its provider does, how it ends, and what it pays.

    Attributes:
        faults: in the order in which they act.
        paid: accepted and billed attempts at the provider of the faults.
        code: of the error; None for a job that completes.
        says: parts of the message of a job that fails.
    """

    faults: Sequence[Fault]
    paid: tuple[int, int]
    code: str | None = None
    says: Sequence[str] = ()


LIP_SYNC: Mapping[str, Case] = {
    "no slot, too fast, slow": Case(
        [
            fault("create", "429_concurrency", retry_after=1),
            fault("create", "429_rate", retry_after=1),
            fault("job", "slow", seconds=2),
        ],
        paid=(1, 1),
    ),
    "page before, answer lost after": Case(
        [fault("create", "502_html"), fault("create", "drop_connection", when="after")],
        paid=(1, 1),
    ),
    "page after, link expired, transfer cut": Case(
        [
            fault("create", "503_html", when="after"),
            # Long enough for the faults of the download to be told which generation is meant.
            fault("job", "slow", seconds=4),
        ],
        paid=(1, 1),
    ),
    "failure that may pass": Case(
        [fault("job", "failed", code="generation_pipeline_failed")],
        paid=(2, 1),
    ),
    "rejected": Case(
        [fault("job", "rejected", code="generation_input_validation_failed")],
        says=["Lip-sync failed: "],
        paid=(1, 0),
        code="generation_input_validation_failed",
    ),
    "failed for good": Case(
        [
            fault(
                "job",
                "failed",
                code="generation_input_video_invalid",
                message="The face cannot be seen",
            )
        ],
        says=["Lip-sync failed: ", "The face cannot be seen"],
        paid=(1, 0),
        code="generation_input_video_invalid",
    ),
    "sound lost": Case(
        [fault("job", "audio_dropped")],
        says=["Lip-sync failed: the lip-sync result is unusable. The lip-sync result has no sound"],
        paid=(1, 1),
        code="output_no_sound",
    ),
}

REMOVAL: Mapping[str, Case] = {
    "too fast twice, slow": Case(
        [
            fault("create", "3006"),
            fault("create", "429_rate", retry_after=1),
            fault("job", "slow", seconds=2),
        ],
        paid=(1, 1),
    ),
    "page before": Case(
        [fault("create", "502_html")],
        paid=(1, 1),
    ),
    "answer lost after, link expired, transfer cut": Case(
        [
            fault("create", "drop_connection", when="after"),
            fault("download", "expired_link"),
            fault("download", "truncated"),
        ],
        paid=(1, 1),
    ),
    "page after, failure that may pass": Case(
        [fault("create", "502_html", when="after"), fault("job", "failed", status=23)],
        paid=(2, 1),
    ),
    "refused": Case(
        [fault("create", "reject", code=4001, msg="the mask is wrong")],
        says=["Text inpainting failed: ", "the mask is wrong"],
        paid=(0, 0),
        code="4001",
    ),
    "sound lost": Case(
        [fault("job", "audio_dropped")],
        says=["Text inpainting failed: the text removal's result is unusable. ", "has no sound"],
        paid=(1, 1),
        code="output_no_sound",
    ),
}

WITH_DOWNLOAD = "page after, link expired, transfer cut"


@dataclass
class Ended:
    """The jobs by the name of their case, all ended."""

    jobs: Jobs
    lip_sync: dict[str, str] = field(default_factory=dict)
    removal: dict[str, str] = field(default_factory=dict)
    fallback: str = ""

    @property
    def ids(self) -> list[str]:
        return [*self.lip_sync.values(), *self.removal.values(), self.fallback]


def of_job(job_id: str, faults: Sequence[Fault]) -> list[Fault]:
    """Faults that act on one job's attempts only."""
    return [{**each, "match": {"reference": f"pv-{job_id}-*"}} for each in faults]


@background_job
def disturbed_jobs(resources: Resources) -> Ended:
    """Every case's job, with a failing text removal behind a good lip-sync as one more."""
    jobs, tiny = resources.jobs, resources.tiny
    tiny_parameters = resources.tiny_parameters
    clip = jobs.put("existing/tiny.mp4", tiny.clip.read_bytes())
    mark = area("erase", tiny.watermark_region, 0.0, None)
    chained = {**tiny_parameters, "annotation_areas": [mark]}
    alone = {"video": clip, "annotation_areas": [mark]}
    # Areas behind a lip-sync that fails: nothing of them may reach GhostCut.
    given = {name: chained if case.code else tiny_parameters for name, case in LIP_SYNC.items()}
    all_of = Ended(
        jobs,
        {name: jobs.prepare(parameters) for name, parameters in given.items()},
        {name: jobs.prepare(alone, "text-inpainting/local") for name in REMOVAL},
        jobs.prepare(chained),
    )

    first = all_of.lip_sync[WITH_DOWNLOAD]
    jobs.plan_faults("sync_so", *of_job(first, LIP_SYNC[WITH_DOWNLOAD].faults))
    jobs.release(first)
    generation = {"id": jobs.until_accepted("sync_so", first)["id"]}
    jobs.plan_faults(
        "sync_so",
        fault("download", "expired_link", match=generation),
        fault("download", "truncated", match=generation),
        *(
            each
            for name, case in LIP_SYNC.items()
            if name != WITH_DOWNLOAD
            for each in of_job(all_of.lip_sync[name], case.faults)
        ),
    )
    jobs.plan_faults(
        "ghostcut",
        *of_job(all_of.fallback, [fault("job", "failed", status=20, detail="no background")]),
        *(
            each
            for name, case in REMOVAL.items()
            for each in of_job(all_of.removal[name], case.faults)
        ),
    )
    jobs.finish([first], prepared=[job_id for job_id in all_of.ids if job_id != first])
    for provider in ("sync_so", "ghostcut"):
        planned = jobs.stack.control(provider, "faults")["faults"]
        ours = [each for each in planned if any(job_id in str(each) for job_id in all_of.ids)]
        ours += [each for each in planned if each["match"] == generation]
        assert ours == [], "a fault was never met, so its case proves nothing"
    return all_of


@pytest.fixture(scope="module")
def ended(background_jobs: BackgroundJobs) -> Ended:
    """The jobs of all cases."""
    return background_jobs.result(disturbed_jobs)


def check(jobs: Jobs, job_id: str, case: Case, provider: str) -> None:
    state = jobs.state(job_id)
    message = state.message or ""
    assert state.name == ("Failed" if case.code else "Completed"), message
    good = LIP_SYNC_ONLY if provider == "sync_so" else REMOVED
    for part in case.says if case.code else [good]:
        assert part in message
    accepted = [(0, 0), case.paid] if provider == "ghostcut" else [case.paid, (0, 0)]
    assert list(jobs.paid(job_id).values()) == accepted
    result = jobs.result(job_id)
    assert result.message == message
    assert (result.error.code if result.error else None) == case.code
    assert jobs.report(job_id)["message"] == message


@pytest.mark.parametrize("name", LIP_SYNC)
def test_lip_sync_ends_and_pays(ended: Ended, name: str) -> None:
    check(ended.jobs, ended.lip_sync[name], LIP_SYNC[name], "sync_so")


@pytest.mark.parametrize("name", REMOVAL)
def test_text_removal_ends_and_pays(ended: Ended, name: str) -> None:
    check(ended.jobs, ended.removal[name], REMOVAL[name], "ghostcut")


def test_an_unusable_result_is_kept_beside_its_source(ended: Ended) -> None:
    name = "sound lost"
    job_id = ended.lip_sync[name]
    assert {"video.mp4", f"pro_sync_result_{job_id}.mp4"} <= set(ended.jobs.objects(job_id))
    job_id = ended.removal[name]
    assert {"video.mp4", f"pro_final_result_{job_id}.mp4"} <= set(ended.jobs.objects(job_id))


def test_a_failed_job_keeps_its_percentage(ended: Ended) -> None:
    [artifact] = ended.jobs.artifacts("pro-video-progress", ended.lip_sync["rejected"])
    assert 10 <= artifact["data"] <= 50
    [artifact] = ended.jobs.artifacts("pro-video-progress", ended.fallback)
    assert 70 <= artifact["data"] <= 95


def test_a_second_attempt_is_a_new_one_at_the_provider(ended: Ended) -> None:
    job_id = ended.lip_sync["failure that may pass"]
    references = [entry["reference"] for entry in ended.jobs.audit("sync_so", job_id)]
    assert references == [f"pv-{job_id}-lip-sync-1", f"pv-{job_id}-lip-sync-2"]
    assert ended.jobs.result(job_id).stages["lip-sync"].attempt == 2


def test_a_lost_answer_is_found_under_its_reference(ended: Ended) -> None:
    for name in ("page before, answer lost after", WITH_DOWNLOAD):
        job_id = ended.lip_sync[name]
        [entry] = ended.jobs.audit("sync_so", job_id)
        assert entry["idempotency_key"] == entry["reference"] == f"pv-{job_id}-lip-sync-1"
        assert ended.jobs.result(job_id).metadata.sync_generation_id == entry["id"]


def test_ghostcut_never_gets_a_request_twice(ended: Ended) -> None:
    audit = ended.jobs.stack.control("ghostcut", "audit")
    assert audit["duplicates"] == 0


class TestFallback:
    """The lip-sync is good and the text removal fails for good."""

    def test_the_message_gives_the_reason(self, ended: Ended) -> None:
        jobs, job_id = ended.jobs, ended.fallback
        failed = [state for state in jobs.history(job_id) if state.name == "Failed"]
        assert failed
        message = failed[0].message or ""
        assert message.startswith("Text inpainting failed: ")
        assert "no background" in message

    def test_the_lip_sync_result_is_the_fallback(self, ended: Ended) -> None:
        jobs, job_id = ended.jobs, ended.fallback
        if jobs.state(job_id).name != "Failed":
            pytest.skip("another test has retried the job")
        result = jobs.result(job_id)
        assert result.output_key is None
        assert result.fallback_key == f"jobs/{job_id}/pro_sync_result_{job_id}.mp4"
        assert result.fallback_url is not None
        answer = httpx.get(result.fallback_url, trust_env=False)
        assert answer.content == jobs.object(result.fallback_key)
        assert jobs.report(job_id)["fallback_key"] == result.fallback_key
        assert jobs.report(job_id)["fallback_url"] is None
        [artifact] = jobs.artifacts("pro-video-report", job_id)
        assert result.fallback_key in artifact["data"]
