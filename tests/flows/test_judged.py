"""Results that are not as expected: delivered with warnings, held, or unusable; and every way on
from there, none of which buys again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry

from pro_video.records import JobResult
from tasks.connections.run_history import TAKEN_UP
from tests.flows.test_editor_jobs import area
from tests.flows.test_provider_faults import BOTH, LIP_SYNC_ONLY, REMOVED, Fault, fault, of_job
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs

pytestmark = pytest.mark.timeout(1000)

DOUBTFUL = "watermark"
NAMES_IT = "output_mark_added"
HOLD = {"on_doubt": "hold"}
# Kinds of lip-sync that no other test on this stack asks for.
DELIVERED, GONE = {"temperature": 0.91}, {"temperature": 0.92}
# The gateway's tags of a job.
ITS_OWN = ["pro-video-api", "owner:local"]
LIP_SYNC_BOUGHT = {"sync_so": (1, 1), "ghostcut": (0, 0)}
REMOVAL_BOUGHT = {"sync_so": (0, 0), "ghostcut": (1, 1)}
BOTH_BOUGHT = {"sync_so": (1, 1), "ghostcut": (1, 1)}


@dataclass(frozen=True)
class End:
    """How a job stood at one of its ends."""

    state: str
    message: str
    result: JobResult
    report: dict[str, Any]
    view: dict[str, Any]
    shown: str
    paid: dict[str, tuple[int, int]]
    link: bytes


@dataclass
class Judged:
    """Jobs by name, and each of their ends."""

    jobs: Jobs
    ids: dict[str, str] = field(default_factory=dict)
    ends: dict[str, list[End]] = field(default_factory=dict)

    def prepare(
        self, name: str, parameters: dict[str, Any], *faults: tuple[str, Fault], **more: Any
    ) -> None:
        """Prepare a job whose providers do what the faults say."""
        self.ids[name] = self.jobs.prepare(parameters, tags=ITS_OWN, **more)
        for provider, each in faults:
            self.jobs.plan_faults(provider, *of_job(self.ids[name], [each]))

    def run(self, *names: str) -> None:
        """Let jobs run, the first time or again by a person's retry, and note their ends."""
        self.jobs.finish([], prepared=[self.ids[name] for name in names])
        self.note(*names)

    def note(self, *names: str) -> None:
        """Note how jobs have ended."""
        for name in names:
            self.ends.setdefault(name, []).append(self._end(self.ids[name]))

    def call(self, name: str, what: str = "") -> httpx.Response:
        """A call of the gateway about a job: a read, or an order."""
        url = f"{self.jobs.stack.base_url('gateway')}/api/v1/jobs/{self.ids[name]}{what}"
        return httpx.request("POST" if what else "GET", url, timeout=30, trust_env=False)

    def _end(self, job_id: str) -> End:
        jobs = self.jobs
        state, result = jobs.state(job_id), jobs.result(job_id)
        [*_, artifact] = sorted(
            jobs.artifacts("pro-video-report", job_id), key=lambda each: str(each["created"])
        )
        base = jobs.stack.base_url("gateway")
        with httpx.Client(base_url=base, timeout=30, trust_env=False) as client:
            view = client.get(f"/api/v1/jobs/{job_id}").json()
            url = result.rejected_url or result.output_url
            link = client.get(url).content if url else b""
        return End(
            state=str(state.name),
            message=state.message or "",
            result=result,
            report=jobs.report(job_id),
            view=view,
            shown=str(artifact["data"]),
            paid=jobs.paid(job_id),
            link=link,
        )


def forget(jobs: Jobs, generation: str | None) -> None:
    """The provider forgets a generation; only what is in the bucket is left."""
    with httpx.Client(base_url=jobs.stack.base_url("sync_so"), trust_env=False) as client:
        key = {"x-api-key": str(jobs.stack.description["sync_so"]["api_key"])}
        client.delete(f"/v2/generations/{generation}", headers=key).raise_for_status()


@background_job
def judged_jobs(resources: Resources) -> Judged:
    """All the jobs, at all of their ends."""
    found = Judged(resources.jobs)
    tiny = resources.tiny
    plain = resources.tiny_parameters
    one = area("erase", tiny.watermark_region, 0.0, None)
    other = area("erase", tiny.protected_region, 0.0, None)
    mark = {"annotation_areas": [one]}
    chained = {**plain, **mark}
    clip = resources.jobs.put("existing/judged.mp4", tiny.clip.read_bytes())
    lips, text = ("sync_so", fault("job", DOUBTFUL)), ("ghostcut", fault("job", DOUBTFUL))
    removal = {"deployment": "text-inpainting/local"}

    found.prepare("delivered", {**chained, **DELIVERED}, lips, text)
    found.prepare("delivered removal", {"video": clip, **mark}, text, **removal)
    found.prepare("held", {**chained, **HOLD}, lips)
    found.prepare("held removal", {**chained, **HOLD}, text)
    found.prepare("good, to be held", {**chained, **HOLD})
    found.prepare("mended", chained, ("sync_so", fault("job", "slow", seconds=4)))
    found.prepare(
        "mended removal", {"video": clip, **mark}, ("ghostcut", fault("download", "short_file")),
        **removal,
    )  # fmt: skip
    found.prepare("gone", {**plain, **GONE}, ("sync_so", fault("job", "audio_dropped")))
    found.prepare("accepted removal", chained, ("ghostcut", fault("job", "audio_dropped")))
    hopeless = fault("job", "failed", code="generation_input_video_invalid")
    found.prepare("foreign mark", plain, ("sync_so", hopeless))
    resources.jobs.put(f"results/{found.ids['foreign mark']}/lip-sync-1-reported", b"no number")

    # Which generation is meant is known once it is there.
    jobs, mended = resources.jobs, found.ids["mended"]
    jobs.release(mended)
    generation = {"id": jobs.until_accepted("sync_so", mended)["id"]}
    jobs.plan_faults("sync_so", fault("download", "short_file", match=generation))
    jobs.finish([mended])
    found.note("mended")
    found.run(*(name for name in found.ids if name != "mended"))

    # A recovery after a lost worker is no retry.
    state: State[Any] = AwaitingRetry(message=TAKEN_UP)
    held = found.ids["held"]
    jobs.api(lambda client: client.set_flow_run_state(UUID(held), state))
    jobs.finish([held])
    found.note("held")
    found.run("held", "held removal", "mended", "mended removal")

    forget(jobs, found.ends["gone"][0].result.metadata.sync_generation_id)
    found.run("gone")
    for name in ("gone", "accepted removal"):
        assert found.call(name, "/accept").status_code == 202
    jobs.finish([found.ids["gone"], found.ids["accepted removal"]])
    found.note("gone", "accepted removal")

    # The same lip-syncs as those of ended jobs, for other areas.
    found.prepare("as delivered", {**plain, **DELIVERED, "annotation_areas": [other]})
    both = {"annotation_areas": [one, other]}
    found.prepare("as delivered, to be held", {**plain, **DELIVERED, **both, **HOLD})
    found.prepare("as accepted", {**chained, **GONE})
    found.run("as delivered", "as delivered, to be held", "as accepted")
    return found


@pytest.fixture(scope="module")
def judged(background_jobs: BackgroundJobs) -> Judged:
    """All the jobs."""
    return background_jobs.result(judged_jobs)


def codes(result: JobResult, stage: str) -> list[str]:
    return [each.code for each in result.warnings if each.stage == stage]


def check_told(end: End, *, stages: set[str]) -> None:
    """The same words in the result, the report, the artifact and the status answer."""
    told = [each.model_dump(mode="json") for each in end.result.warnings]
    assert {each["stage"] for each in told} == stages
    assert end.report["warnings"] == told
    assert end.view["warnings"] == told
    assert end.report["message"] == end.view["message"] == end.result.message == end.message
    assert end.report["rejected_key"] == end.view["rejected_key"] == end.result.rejected_key
    assert end.report["fallback_key"] == end.view["fallback_key"] == end.result.fallback_key
    assert end.report["rejected_url"] is None
    for warning in end.result.warnings:
        assert f"`{warning.code}`" in end.shown


@pytest.mark.parametrize(
    ("name", "message", "stages", "paid"),
    [
        ("delivered", BOTH, {"lip-sync", "inpainting"}, BOTH_BOUGHT),
        ("delivered removal", REMOVED, {"inpainting"}, REMOVAL_BOUGHT),
    ],
)
def test_a_doubtful_result_is_delivered_with_warnings(
    judged: Judged, name: str, message: str, stages: set[str], paid: object
) -> None:
    [end] = judged.ends[name]
    assert (end.state, end.message, end.paid) == ("Completed", message, paid)
    check_told(end, stages=stages)
    for stage in stages:
        assert NAMES_IT in codes(end.result, stage)
    assert end.result.rejected_key is None
    assert end.result.output_key is not None
    assert end.link == judged.jobs.object(end.result.output_key)
    job_id = judged.ids[name]
    logged = judged.jobs.log(job_id, *(str(each.id) for each in judged.jobs.subflows(job_id)))
    for warning in end.result.warnings:
        assert sum(f"{warning.stage}: {warning.message}" in line for line in logged) == 1


def test_a_good_result_is_never_held(judged: Judged) -> None:
    [end] = judged.ends["good, to be held"]
    assert (end.state, end.message, end.paid) == ("Completed", BOTH, BOTH_BOUGHT)
    check_told(end, stages=set())


def test_a_held_lip_sync_stops_before_more_is_paid(judged: Judged) -> None:
    job_id = judged.ids["held"]
    key = f"jobs/{job_id}/pro_sync_result_{job_id}.mp4"
    first = judged.ends["held"][0]
    assert (first.state, first.paid) == ("Failed", LIP_SYNC_BOUGHT)
    assert first.message.startswith("Held: the lip-sync result is doubtful. ")
    assert f"Look at it: {key}. Retry this run to use it as it is" in first.message
    assert first.result.error is not None
    assert first.result.error.code == "output_held"
    check_told(first, stages={"lip-sync"})
    assert (first.result.rejected_key, first.result.fallback_key) == (key, None)
    assert first.link == judged.jobs.object(key)
    assert first.result.estimated_cost_usd is not None


def test_a_recovery_does_not_release_a_held_result(judged: Judged) -> None:
    first, again, _ = judged.ends["held"]
    assert (again.state, again.message) == (first.state, first.message)
    assert again.paid == LIP_SYNC_BOUGHT


@pytest.mark.parametrize("name", ["held", "held removal"])
def test_a_retry_of_a_held_job_uses_the_result_and_buys_no_other(judged: Judged, name: str) -> None:
    before, end = judged.ends[name][0], judged.ends[name][-1]
    assert (end.state, end.message, end.paid) == ("Completed", BOTH, BOTH_BOUGHT)
    assert (end.result.rejected_key, end.result.accepted_by) == (None, None)
    assert end.result.warnings == before.result.warnings
    assert end.result.stages["lip-sync"] == before.result.stages["lip-sync"]


def test_a_held_text_removal_has_the_lip_sync_as_fallback(judged: Judged) -> None:
    job_id = judged.ids["held removal"]
    end = judged.ends["held removal"][0]
    assert (end.state, end.paid) == ("Failed", BOTH_BOUGHT)
    assert end.message.startswith("Held: the text removal's result is doubtful. ")
    check_told(end, stages={"inpainting"})
    assert end.result.rejected_key == f"jobs/{job_id}/pro_final_result_{job_id}.mp4"
    assert end.result.fallback_key == f"jobs/{job_id}/pro_sync_result_{job_id}.mp4"


@pytest.mark.parametrize(
    ("name", "lead", "message", "before", "after"),
    [
        ("mended", "Lip-sync failed: ", BOTH, LIP_SYNC_BOUGHT, BOTH_BOUGHT),
        ("mended removal", "Text inpainting failed: ", REMOVED, REMOVAL_BOUGHT, REMOVAL_BOUGHT),
    ],
)
def test_a_retry_of_an_unusable_result_fetches_and_judges_it_again(
    judged: Judged, name: str, lead: str, message: str, before: object, after: object
) -> None:
    first, end = judged.ends[name]
    assert (first.state, first.paid) == ("Failed", before)
    assert first.message.startswith(lead)
    assert "result is unusable. " in first.message
    assert "nothing is bought" in first.message
    assert first.result.rejected_key is not None
    check_told(first, stages={each.stage for each in first.result.warnings})

    assert (end.state, end.message, end.paid) == ("Completed", message, after)
    assert end.result.warnings == ()
    # The first result is kept beside it.
    assert judged.jobs.object(first.result.rejected_key) == first.link
    assert end.link != first.link


def test_what_the_provider_has_no_more_stays_in_the_bucket(judged: Judged) -> None:
    first, again, _ = judged.ends["gone"]
    assert (again.state, again.paid) == ("Failed", LIP_SYNC_BOUGHT)
    assert "It could not be fetched once more: " in again.message
    assert again.result.rejected_key == first.result.rejected_key
    assert again.link == first.link != b""
    check_told(again, stages={"lip-sync"})


@pytest.mark.parametrize(
    ("name", "stage", "message", "paid"),
    [
        ("gone", "lip-sync", LIP_SYNC_ONLY, LIP_SYNC_BOUGHT),
        ("accepted removal", "inpainting", BOTH, BOTH_BOUGHT),
    ],
)
def test_an_accepted_result_is_used_as_it_is(
    judged: Judged, name: str, stage: str, message: str, paid: object
) -> None:
    first, end = judged.ends[name][0], judged.ends[name][-1]
    assert first.state == "Failed"
    assert f"POST /api/v1/jobs/{judged.ids[name]}/accept" in first.message
    assert (end.state, end.message, end.paid) == ("Completed", message, paid)
    assert end.result.output_key == first.result.rejected_key
    assert end.link == first.link
    assert end.result.accepted_by == end.view["accepted_by"] == "local"
    assert codes(end.result, stage) == [*codes(first.result, stage), "output_accepted"]
    check_told(end, stages={stage})
    again = judged.call(name, "/accept")
    assert (again.status_code, again.json()["status"]) == (202, "completed")


def test_a_doubtful_result_is_reused_with_its_warnings(judged: Judged) -> None:
    [first], [end] = judged.ends["delivered"], judged.ends["as delivered"]
    assert (end.state, end.paid) == ("Completed", REMOVAL_BOUGHT)
    assert end.result.stages["lip-sync"].reused_from == judged.ids["delivered"]
    assert codes(end.result, "lip-sync") == codes(first.result, "lip-sync") != []

    [held] = judged.ends["as delivered, to be held"]
    assert (held.state, held.paid) == ("Failed", {"sync_so": (0, 0), "ghostcut": (0, 0)})
    assert "Start a new job with reuse_lip_sync off to buy another." in held.message


def test_an_accepted_result_is_not_reused(judged: Judged) -> None:
    [end] = judged.ends["as accepted"]
    assert (end.state, end.paid) == ("Completed", BOTH_BOUGHT)
    assert (end.result.warnings, end.result.accepted_by) == ((), None)


def test_an_unforeseen_exception_is_told_like_every_other_end(judged: Judged) -> None:
    [end] = judged.ends["foreign mark"]
    assert end.state == "Failed"
    assert end.message.startswith("Unexpected error: ValueError: ")
    assert "Retry this run" in end.message
    assert end.result.error is not None
    assert (end.result.error.kind, end.result.error.code) == ("ValueError", "unexpected")
    assert end.view["error"]["code"] == "unexpected"
    check_told(end, stages=set())
    assert any("was_reported" in line for line in judged.jobs.log(judged.ids["foreign mark"]))
