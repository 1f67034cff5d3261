"""The job resource: a view of Prefect's state, for its owner alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.jobs.views import job_view
from gateway.prefect_client.runs import Run, RunState
from gateway.status.status_reader import Snapshot
from pro_video.core.job_names import (
    CLEANED_LABEL,
    FINDINGS_LABEL,
    FileKind,
    JobKeys,
    accepted_label,
    fact_label,
)
from pro_video.core.job_warning import JobWarning, Place
from pro_video.records import Acceptance, Cleaned, Findings
from tests.gateway.gateways import (
    BUCKET,
    EFFECTS,
    FORM,
    JOBS,
    UPLOADS,
    Gateway,
    Upstream,
    form,
    json_job,
    until,
)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


@pytest.fixture
def job(client: httpx.Client) -> str:
    answer = client.post(JOBS, json=json_job())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def view_of(client: httpx.Client, job_id: str) -> Any:
    answer = client.get(f"{JOBS}/{job_id}")
    assert answer.status_code == 200, answer.text
    assert client.get(f"/api/v1/video-editors/pro-job/{job_id}/status").json() == answer.json()
    return answer.json()


def test_json_job(client: httpx.Client, upstream: Upstream) -> None:
    answer = client.post(JOBS, json=json_job(effects=EFFECTS, options={"model": "sync-3"}))
    assert answer.status_code == 201, answer.text
    created = answer.json()
    assert answer.headers["Location"] == f"{JOBS}/{created['job_id']}"
    parameters = upstream.run(created["job_id"])["parameters"]
    assert parameters["video"] == "https://example.com/clip.mp4"
    assert parameters["model"] == "sync-3"
    assert parameters["segments"][0]["audio"] == "https://example.com/a.wav"


def test_no_source_climbs_out_of_its_place(start_gateway: Callable[..., Gateway]) -> None:
    with start_gateway(source_prefixes=["s3://open/shared/"]).client() as client:
        assert client.post(JOBS, json=json_job(video="s3://open/shared/a.mp4")).status_code == 201
        for key in ("shared/../a.mp4", "shared/./a.mp4", "shared//a.mp4", "shared/"):
            answer = client.post(JOBS, json=json_job(video=f"s3://open/{key}"))
            assert answer.status_code == 422, key
            (error,) = answer.json()["errors"]
            assert (error["field"], error["code"]) == ("video", "source_malformed"), key
            assert 'empty, "." or ".." part' in error["message"]


def test_all_problems_of_a_json_job(client: httpx.Client) -> None:
    body = json_job(effects=[{**EFFECTS[0], "colour": "red"}], options={"model": "x", "speed": 1})
    body["video"] = "/etc/passwd"
    body["audios"]["b"] = f"s3://{BUCKET}/uploads/somebody/x/file.wav"
    body["segments_data"][0]["audioInput"]["refId"] = "nobody"
    body["extra"] = 1
    answer = client.post(JOBS, json=body)
    assert answer.status_code == 422, answer.text
    fields = {error["field"]: error["code"] for error in answer.json()["errors"]}
    assert fields == {
        "extra": "unknown_field",
        "video": "source_scheme",
        "audios.b": "source_forbidden",
        "segments_data[0].audioInput.refId": "audio_missing",
        "effects[0].colour": "unknown_field",
        "options.speed": "unknown_field",
        "options.model": "unknown_choice",
    }


@pytest.mark.parametrize(
    "source",
    [
        f"s3://{BUCKET}/gateway/tokens.json",
        f" s3://{BUCKET}/results/x",
        f"S3://{BUCKET}/uploads/other/{'0' * 32}/file.mp4",
        f"s3://{BUCKET}/uploads/local/../other/{'0' * 32}/file.mp4",
        f"s3://{BUCKET}/jobs/{uuid.UUID(int=7)}/video.mp4",
        "s3://other-bucket/uploads/local/x",
        "s3:/x",
        "upload:" + "0" * 32,
        "upload:../../x",
        "file:///etc/passwd",
        "/etc/passwd",
        "relative.mp4",
        "",
    ],
)
def test_sources_of_others_are_refused(client: httpx.Client, source: str) -> None:
    answer = client.post(JOBS, json={**json_job(), "video": source})
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]][:1] == ["video"]


def test_stage_and_percentage(client: httpx.Client, upstream: Upstream, job: str) -> None:
    view = view_of(client, job)
    assert (view["status"], view["stage"], view["progress"]) == ("processing", "queued", 0)
    upstream.set_state(job, "RUNNING", "Text inpainting", "Text inpainting in progress...")
    artifact = {"key": "pro-video-progress", "type": "progress", "data": 75.4, "flow_run_id": job}
    upstream.prefect("POST", "/artifacts/", artifact)
    view = view_of(client, job)
    assert view["message"] == "Text inpainting in progress..."
    assert (view["stage"], view["progress"]) == ("inpainting processing", 75)
    assert view["completed_at"] is None
    assert (view["sync_generation_id"], view["metadata"]) == (None, {"segments_count": 1})


def test_a_parked_job_stays_in_its_stage(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    waiting = "Lip-sync processing... Waiting for Sync.so generation gen-7."
    artifact = {"key": "pro-video-progress", "type": "progress", "data": 30.0, "flow_run_id": job}
    upstream.prefect("POST", "/artifacts/", artifact)
    for kind, name in (
        ("SCHEDULED", "Lip-sync processing"),
        # It goes on: no stage is shown yet.
        ("PENDING", "Pending"),
        ("RUNNING", "Running"),
    ):
        upstream.set_state(job, kind, name, waiting if kind == "SCHEDULED" else None)
        view = view_of(client, job)
        assert (view["status"], view["stage"]) == ("processing", "lip-sync processing")
        assert view["progress"] == 30
        assert view["message"].startswith("Lip-sync processing...")


def test_ids_of_the_providers_show_while_the_job_runs(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    upstream.set_state(job, "RUNNING", "Lip-sync processing", "Lip-sync processing...")
    labels = {fact_label("sync_generation_id"): "gen-7"}
    upstream.prefect("PATCH", f"/flow_runs/{job}/labels", labels)
    view = view_of(client, job)
    assert view["sync_generation_id"] == view["metadata"]["sync_generation_id"] == "gen-7"
    assert "ghostcut_task_id" not in view["metadata"]


def finish(upstream: Upstream, job: str, kind: str, message: str, **fields: Any) -> None:
    now = datetime.now(UTC).isoformat()
    report = {
        "job_id": job,
        "status": kind.lower(),
        "message": message,
        "metadata": {"segments_count": 1, "sync_generation_id": "gen-1"},
        "created_at": now,
        "completed_at": now,
        **fields,
    }
    data = json.dumps(report).encode()
    upstream.s3.put_object(Bucket=BUCKET, Key=JobKeys(job).report, Body=data)
    upstream.set_state(job, kind, kind.capitalize(), message)


def test_completed(client: httpx.Client, upstream: Upstream, job: str) -> None:
    key = JobKeys(job).final_result
    upstream.s3.put_object(Bucket=BUCKET, Key=key, Body=b"result")
    finish(upstream, job, "COMPLETED", "Pro video processing completed", output_key=key)
    view = view_of(client, job)
    assert (view["status"], view["progress"], view["stage"]) == ("completed", 100, "completed")
    assert view["sync_generation_id"] == "gen-1"
    assert view["completed_at"] is not None
    assert httpx.get(view["output_url"], trust_env=False).content == b"result"


def test_a_cleaned_job_says_so_and_links_to_nothing(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    key = JobKeys(job).final_result
    upstream.s3.put_object(Bucket=BUCKET, Key=key, Body=b"result")
    finish(upstream, job, "COMPLETED", "Completed", output_key=key)
    assert view_of(client, job)["output_url"]
    clean(upstream, job, "records", "sources")
    until(lambda: view_of(client, job)["files_removed"] == ["records", "sources"])
    # Nothing that this view links to is gone.
    assert view_of(client, job)["output_url"]
    assert view_of(client, job)["message"] == "Completed"
    clean(upstream, job, "records", "results")
    until(lambda: view_of(client, job)["files_removed"] == ["records", "results"])
    view = view_of(client, job)
    assert (view["status"], view["output_url"], view["preview_url"]) == ("completed", None, None)
    assert view["message"] == (
        "Completed. The cleanup of 2026-11-28 removed files of this job (records, results)."
    )
    assert view["files_removed_at"] == "2026-11-28T00:00:00Z"


def test_a_cleaned_job_is_neither_retried_nor_accepted(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    reject(upstream, job)
    clean(upstream, job, "records")
    for action in ("retry", "accept"):
        answer = client.post(f"{JOBS}/{job}/{action}")
        assert (answer.status_code, answer.json()["code"]) == (409, "files_removed")
        assert "The cleanup of 2026-11-28 removed files of this job" in answer.json()["detail"]
    assert upstream.run(job)["state"]["type"] == "FAILED"
    view = view_of(client, job)
    assert (view["retry_url"], view["accept_url"]) == (None, None)
    assert view["rejected_url"]


def clean(upstream: Upstream, job: str, *kinds: FileKind) -> None:
    """Label a job as the cleanup does."""
    cleaned = Cleaned(at=datetime(2026, 11, 28, tzinfo=UTC), kinds=kinds)
    labels = {CLEANED_LABEL: cleaned.model_dump_json()}
    upstream.prefect("PATCH", f"/flow_runs/{job}/labels", json=labels)


def test_failed_with_fallback_then_retried(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    key = JobKeys(job).lip_sync_result
    upstream.s3.put_object(Bucket=BUCKET, Key=key, Body=b"lip-sync")
    message = "Text inpainting failed: no text was found"
    error = {"stage": "inpainting processing", "kind": "JobFailed", "code": "26"}
    finish(upstream, job, "FAILED", message, fallback_key=key, error={**error, "message": message})
    view = view_of(client, job)
    assert (view["status"], view["message"]) == ("failed", message)
    assert (view["error"]["code"], view["error"]["stage"]) == ("26", "inpainting processing")
    assert view["output_url"] is None
    assert httpx.get(view["fallback_url"], trust_env=False).content == b"lip-sync"

    retried = client.post(view["retry_url"])
    assert retried.status_code == 202, retried.text
    assert retried.json()["status"] == "processing"
    assert upstream.run(job)["state"]["name"] == "AwaitingRetry"
    again = client.post(view["retry_url"])
    assert (again.status_code, again.json()["code"]) == (409, "job_not_retryable")

    # The report is of an earlier end.
    upstream.set_state(job, "FAILED", "Failed", "Died too often")
    view = view_of(client, job)
    assert view["error"] == {
        **dict.fromkeys(("stage", "provider", "request_id")),
        "code": "failed",
        "message": "Died too often",
    }
    assert view["fallback_url"] is None


WARNING = JobWarning(
    code="output_mark_added",
    message="A mark was added.",
    stage="lip-sync",
    start=0.5,
    end=1.5,
    region=Place(x=0.7, y=0.8, width=0.2, height=0.1),
    confidence=0.9,
)
WARNED = WARNING.model_dump(mode="json")


def tell(upstream: Upstream, job: str, findings: Findings) -> None:
    """Label a run with findings, as its job does."""
    label = {FINDINGS_LABEL: findings.model_dump_json(exclude_defaults=True)}
    upstream.prefect("PATCH", f"/flow_runs/{job}/labels", label)


def listed(client: httpx.Client, job: str) -> Any:
    return next(one for one in client.get(JOBS).json()["jobs"] if one["job_id"] == job)


def test_warnings_show_while_the_job_runs_and_after_its_end(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    assert view_of(client, job)["warnings"] == []
    upstream.set_state(job, "RUNNING", "Text inpainting", "Text inpainting in progress...")
    tell(upstream, job, Findings(warnings=(WARNING,)))
    assert view_of(client, job)["warnings"] == listed(client, job)["warnings"] == [WARNED]

    key = JobKeys(job).final_result
    finish(upstream, job, "COMPLETED", "Done", output_key=key, warnings=[WARNED, WARNED])
    assert view_of(client, job)["warnings"] == [WARNED, WARNED]
    assert listed(client, job)["warnings"] == [WARNED]


def test_a_label_that_cannot_be_read_hides_no_job(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    upstream.prefect("PATCH", f"/flow_runs/{job}/labels", {FINDINGS_LABEL: "not JSON"})
    assert view_of(client, job)["warnings"] == listed(client, job)["warnings"] == []


def reject(upstream: Upstream, job: str) -> str:
    """Let a job end with an unusable lip-sync; the result's key."""
    key = JobKeys(job).lip_sync_result
    upstream.s3.put_object(Bucket=BUCKET, Key=key, Body=b"paid")
    tell(upstream, job, Findings(warnings=(WARNING,), rejected_key=key))
    message = "Lip-sync failed: the lip-sync result is unusable."
    finish(upstream, job, "FAILED", message, rejected_key=key, warnings=[WARNED])
    return key


def test_a_rejected_result_is_named_linked_and_accepted(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    key = reject(upstream, job)
    view = view_of(client, job)
    assert (view["output_url"], view["fallback_key"], view["fallback_url"]) == (None, None, None)
    assert view["rejected_key"] == listed(client, job)["rejected_key"] == key
    assert httpx.get(view["rejected_url"], trust_env=False).content == b"paid"
    assert view["accept_url"] == f"{JOBS}/{job}/accept"

    before = datetime.now(UTC)
    answer = client.post(view["accept_url"])
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert (view["status"], view["rejected_key"], view["accept_url"]) == ("processing", None, None)
    run = upstream.run(job)
    assert run["state"]["name"] == "AwaitingRetry"
    decision = Acceptance.model_validate_json(run["labels"][accepted_label(key)])
    assert decision.by == "local"
    assert before <= decision.at <= datetime.now(UTC)

    # Again while the job continues, and after an end before it could continue.
    assert client.post(f"{JOBS}/{job}/accept").status_code == 202
    reject(upstream, job)
    assert client.post(f"{JOBS}/{job}/accept").status_code == 202
    assert upstream.run(job)["labels"][accepted_label(key)] == decision.model_dump_json()


def test_a_result_without_a_report_is_accepted(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    key = JobKeys(job).final_result
    tell(upstream, job, Findings(rejected_key=key))
    upstream.set_state(job, "FAILED", "Failed", "Text inpainting failed: unusable")
    assert client.post(view_of(client, job)["accept_url"]).status_code == 202
    assert accepted_label(key) in upstream.run(job)["labels"]


def test_the_view_has_the_acceptance(client: httpx.Client, upstream: Upstream, job: str) -> None:
    at = "2026-01-01T12:00:00Z"
    finish(upstream, job, "COMPLETED", "Done", accepted_by="anna", accepted_at=at)
    view = view_of(client, job)
    assert (view["accepted_by"], view["accepted_at"]) == ("anna", at)


@pytest.mark.parametrize("state", ["SCHEDULED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"])
def test_without_a_rejected_result_there_is_nothing_to_accept(
    client: httpx.Client, upstream: Upstream, job: str, state: str
) -> None:
    upstream.set_state(job, state, state.capitalize(), "As it is")
    answer = client.post(f"{JOBS}/{job}/accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_accept")
    run = upstream.run(job)
    assert run["state"]["type"] == state
    assert not [label for label in run["labels"] if "accepted" in label]


@pytest.mark.parametrize("on_doubt", ["deliver", "hold"])
def test_on_doubt_reaches_the_flow(client: httpx.Client, upstream: Upstream, on_doubt: str) -> None:
    options = {"on_doubt": on_doubt, "model": "sync-3"}
    answers = [
        client.post(JOBS, json=json_job(options=options)),
        client.post(FORM, **{**form(), "data": form()["data"] | {"options": json.dumps(options)}}),
    ]
    for answer in answers:
        assert answer.status_code in (200, 201), answer.text
        assert upstream.run(answer.json()["job_id"])["parameters"]["on_doubt"] == on_doubt


@pytest.mark.parametrize("on_doubt", ["ask", None, ["hold"], 1])
def test_another_on_doubt_is_refused(client: httpx.Client, on_doubt: object) -> None:
    answer = client.post(JOBS, json=json_job(options={"on_doubt": on_doubt}))
    assert answer.status_code == 422, answer.text
    found = [(error["field"], error["code"]) for error in answer.json()["errors"]]
    assert found == [("options.on_doubt", "unknown_choice")]


def test_a_crashed_job_is_processing_until_it_counts_as_failed() -> None:
    now = datetime.now(UTC)
    state = {"id": uuid.uuid4(), "type": "CRASHED", "name": "Crashed", "timestamp": now}
    run = Run.model_validate({"id": uuid.uuid4(), "created": now, "state": state})
    view = job_view(Snapshot(run, 42.0), None)
    assert (view.status, view.stage, view.progress) == ("processing", "recovering", 42)
    assert view.retry_url is None
    assert view.completed_at is None
    state["timestamp"] = now - timedelta(minutes=16)
    view = job_view(
        Snapshot(run.model_copy(update={"state": RunState.model_validate(state)}), 42.0), None
    )
    assert view.status == "failed"
    assert view.error is not None
    assert view.error.code == "crashed"
    assert view.retry_url is not None


def test_cancel(client: httpx.Client, upstream: Upstream, job: str) -> None:
    answer = client.post(f"{JOBS}/{job}/cancel")
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "cancelled"
    assert client.post(f"{JOBS}/{job}/cancel").status_code == 202
    assert upstream.run(job)["state"]["type"] == "CANCELLED"
    assert client.post(f"{JOBS}/{job}/retry").status_code == 202

    upstream.set_state(job, "RUNNING", "Uploading", "Uploading files...")
    answer = client.post(f"{JOBS}/{job}/cancel")
    assert (answer.json()["status"], answer.json()["stage"]) == ("processing", "cancelling")

    # It would be taken up again.
    upstream.set_state(job, "CRASHED", "Crashed")
    answer = client.post(f"{JOBS}/{job}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_retryable")
    assert client.post(f"{JOBS}/{job}/cancel").json()["status"] == "cancelled"
    # A worker ends a parked job, whose last process Prefect still names.
    upstream.set_state(job, "SCHEDULED", "Text inpainting", "Text inpainting in progress...")
    upstream.prefect("PATCH", f"/flow_runs/{job}", {"infrastructure_pid": "gone"})
    answer = client.post(f"{JOBS}/{job}/cancel")
    assert (answer.json()["status"], answer.json()["stage"]) == ("processing", "cancelling")

    upstream.set_state(job, "COMPLETED", "Completed")
    answer = client.post(f"{JOBS}/{job}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_ended")


def test_list_pages_and_filters(owned: Gateway, upstream: Upstream, tokens: dict[str, str]) -> None:
    with owned.client(tokens["anna"]) as client:
        ids = [client.post(JOBS, json=json_job()).json()["job_id"] for _ in range(5)]
        upstream.set_state(ids[1], "COMPLETED", "Completed")
        seen: list[str] = []
        cursor = None
        while True:
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = client.get(JOBS, params=query).json()
            seen += [job["job_id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen[: len(ids)] == ids[::-1]
        assert len(set(seen)) == len(seen)
        done = client.get(JOBS, params={"status": "completed"}).json()["jobs"]
        assert [job["job_id"] for job in done if job["job_id"] in ids] == [ids[1]]
        answer = client.get(JOBS, params={"cursor": "nonsense"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")
    with owned.client(tokens["ben"]) as client:
        assert not set(ids) & {job["job_id"] for job in client.get(JOBS).json()["jobs"]}


def test_others_see_nothing(owned: Gateway, upstream: Upstream, tokens: dict[str, str]) -> None:
    with owned.client(tokens["anna"]) as anna, owned.client(tokens["ben"]) as ben:
        created = anna.post(FORM, **form())
        assert created.status_code == 200, created.text
        job = created.json()["job_id"]
        video = upstream.run(job)["parameters"]["video"]
        for client, status in ((anna, 200), (ben, 404)):
            assert client.get(f"{JOBS}/{job}").status_code == status
            assert client.get(created.json()["status_url"]).status_code == status
        for action in ("cancel", "retry", "accept"):
            answer = ben.post(f"{JOBS}/{job}/{action}")
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
        for what in ("events", "webhooks"):
            answer = ben.get(f"{JOBS}/{job}/{what}")
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
        upload = video.split("/")[-2]
        assert ben.get(f"{UPLOADS}/{upload}").status_code == 404
        for source in (video, f"s3://{BUCKET}/jobs/{job}/video.mp4"):
            body = {**json_job(), "video": source}
            assert ben.post(JOBS, json=body).status_code == 422
            assert anna.post(JOBS, json=body).status_code == 201
        assert upstream.run(job)["state"]["type"] == "SCHEDULED"


def test_runs_of_prefect_users_are_not_jobs_of_the_api(
    client: httpx.Client, upstream: Upstream, job: str
) -> None:
    deployment = upstream.run(job)["deployment_id"]
    run = upstream.prefect(
        "POST",
        f"/deployments/{deployment}/create_flow_run",
        {"parameters": {"video": "s3://b/k", "segments": []}},
    )
    assert client.get(f"{JOBS}/{run['id']}").status_code == 404


class TestIdempotency:
    def test_same_key_and_body(self, client: httpx.Client) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        first = client.post(JOBS, json=json_job(), headers=key)
        second = client.post(JOBS, json=json_job(), headers=key)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()
        other = client.post(JOBS, json=json_job(display_name="Other"), headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    def test_keys_belong_to_owners(self, owned: Gateway, tokens: dict[str, str]) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        ids = []
        for owner in ("anna", "ben"):
            with owned.client(tokens[owner]) as client:
                ids.append(client.post(JOBS, json=json_job(), headers=key).json()["job_id"])
        assert ids[0] != ids[1]

    def test_forms(self, client: httpx.Client, upstream: Upstream) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        first = client.post(FORM, **form(), headers=key)
        kept = upstream.keys("uploads/")
        second = client.post(FORM, **form(), headers=key)
        assert first.json() == second.json()
        for other in (form(video=b"w" * 1000), form(effects=None), form(audios=(b"b", b"a"))):
            answer = client.post(FORM, **other, headers=key)
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert upstream.keys("uploads/") == kept

    def test_fifty_at_once(
        self, owned: Gateway, upstream: Upstream, tokens: dict[str, str]
    ) -> None:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        before = upstream.count_runs("ben")
        with owned.client(tokens["ben"]) as client, ThreadPoolExecutor(50) as pool:
            answers = list(
                pool.map(lambda _: client.post(JOBS, json=json_job(), headers=key), range(50))
            )
        assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        assert upstream.count_runs("ben") == before + 1

    def test_fifty_forms_at_once(
        self, owned: Gateway, upstream: Upstream, tokens: dict[str, str]
    ) -> None:
        """Few are received at the same time; the others wait for admission."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        before, kept = upstream.count_runs("ben"), upstream.keys("uploads/ben/")
        with owned.client(tokens["ben"]) as client, ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: client.post(FORM, **form(), headers=key), range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        assert upstream.count_runs("ben") == before + 1
        # One video and two audios.
        assert len(upstream.keys("uploads/ben/")) == len(kept) + 3

    def test_bad_key(self, client: httpx.Client) -> None:
        answer = client.post(JOBS, json=json_job(), headers={"Idempotency-Key": "k" * 256})
        assert answer.status_code == 422


def test_webhook_of_a_job(client: httpx.Client, upstream: Upstream) -> None:
    body = json_job(webhook={"url": "https://93.184.216.34/hook"})
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answer = client.post(JOBS, json=body, headers=key)
    assert answer.status_code == 201, answer.text
    secret = answer.json()["webhook_secret"]
    assert secret.startswith("whsec_")
    assert "pro-video-webhook" in upstream.run(answer.json()["job_id"])["tags"]
    assert client.post(JOBS, json=body, headers=key).json()["webhook_secret"] == secret
    for url in ("http://127.0.0.1/hook", "ftp://example.com/", "https://user@example.com/"):
        answer = client.post(JOBS, json=json_job(webhook={"url": url, "secret": "short"}))
        assert answer.status_code == 422
        fields = [error["field"] for error in answer.json()["errors"]]
        assert fields == ["webhook.secret", "webhook.url"]


@pytest.mark.parametrize("limit", [0, -1, "2", True, [1]])
def test_a_limit_of_cost_that_is_none_is_refused(client: httpx.Client, limit: object) -> None:
    answer = client.post(JOBS, json=json_job(options={"max_cost_usd": limit}))
    assert answer.status_code == 422, answer.text
    found = [(error["field"], error["code"]) for error in answer.json()["errors"]]
    assert found == [("options.max_cost_usd", "wrong_value")]
