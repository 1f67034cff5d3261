"""Statuses for polling clients: coherent, quick, fresh, and for their owner only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.base.settings import GatewaySettings
from pro_video.core.progress import Stage
from tests.gateway.gateways import JOBS, TOKENS, Gateway, Upstream, json_job, serving, until


@pytest.fixture(scope="module")
def cached(upstream: Upstream, tokens: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that keeps statuses for long, so that what was read once is in its cache."""
    with serving(upstream, status_cache_seconds=120, token_block=TOKENS) as running:
        yield running


@pytest.fixture
def anna(cached: Gateway, tokens: dict[str, str]) -> Iterator[httpx.Client]:
    with cached.client(tokens["anna"]) as client:
        yield client


def status_url(job: str) -> str:
    return f"/api/v1/video-editors/pro-job/{job}/status"


def new_job(client: httpx.Client) -> str:
    answer = client.post(JOBS, json=json_job())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


def show_percent(upstream: Upstream, job: str, percent: float) -> None:
    artifact = {"key": "pro-video-progress", "type": "progress", "data": percent}
    upstream.prefect("POST", "/artifacts/", {**artifact, "flow_run_id": job})


def test_cached_responses_are_those_of_the_routes(anna: httpx.Client) -> None:
    job = new_job(anna)
    ordinary = anna.get(status_url(job))
    page = {"Origin": "https://editor.example.com"}
    for answer in (
        anna.get(status_url(job)),
        anna.get(f"{JOBS}/{job}"),
        # Requests of pages go to the routes.
        anna.get(status_url(job), headers=page),
    ):
        assert answer.status_code == 200
        assert answer.content == ordinary.content
        for name in ("Content-Type", "ETag", "Cache-Control"):
            assert answer.headers[name] == ordinary.headers[name]
        assert answer.headers["X-Request-Id"]
    assert ordinary.json()["job_id"] == job


def test_cached_status_is_for_its_owner_alone(
    cached: Gateway, anna: httpx.Client, tokens: dict[str, str]
) -> None:
    job = new_job(anna)
    assert anna.get(status_url(job)).status_code == 200
    assert anna.get(status_url(job)).status_code == 200
    with cached.client(tokens["ben"]) as ben:
        for path in (status_url(job), f"{JOBS}/{job}"):
            answer = ben.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    with cached.client() as nobody:
        for value in (None, "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer \xff"):
            headers = [] if value is None else [(b"Authorization", value.encode("latin-1"))]
            answer = nobody.get(status_url(job), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_two_tokens_in_one_request_are_not_chosen_from(
    cached: Gateway, anna: httpx.Client, tokens: dict[str, str]
) -> None:
    job = new_job(anna)
    assert anna.get(status_url(job)).status_code == 200
    with cached.client() as client:
        both = [("Authorization", f"Bearer {tokens[name]}") for name in ("ben", "anna")]
        answer = client.get(status_url(job), headers=both)
        assert answer.status_code in (401, 404)


def test_unchanged_status_is_not_sent_again(anna: httpx.Client) -> None:
    job = new_job(anna)
    for _ in range(2):  # from the route, then from the cache
        tag = anna.get(status_url(job)).headers["ETag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = anna.get(status_url(job), headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["ETag"] == tag
        answer = anna.get(status_url(job), headers={"If-None-Match": '"other"'})
        assert answer.status_code == 200
    before = anna.get(f"{JOBS}/{job}").headers["ETag"]
    assert anna.post(f"{JOBS}/{job}/cancel").status_code == 202
    answer = anna.get(f"{JOBS}/{job}", headers={"If-None-Match": before})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


def test_many_pollers_are_served_and_limited_apart(
    start_gateway: Callable[..., Gateway], tokens: dict[str, str]
) -> None:
    gateway = start_gateway(
        token_block=TOKENS,
        requests_per_second=0.001,
        request_burst=2,
        status_reads_per_second=0.5,
        status_read_burst=20,
    )
    with gateway.client(tokens["anna"]) as client:
        job = new_job(client)
        answers = [client.get(status_url(job)) for _ in range(21)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429]
        assert answers[-1].json()["code"] == "too_many_requests"
        assert int(answers[-1].headers["Retry-After"]) >= 1
        # Statuses have used up nothing of the rest, nor the other way round.
        assert client.get(JOBS).status_code == 200
        assert client.get(JOBS).status_code == 429


def test_default_limits_bear_a_thousand_pollers() -> None:
    settings = GatewaySettings()
    # A thousand pages that begin at once and ask every two seconds, through one backend.
    assert settings.status_read_burst >= 1000
    assert settings.status_reads_per_second >= 500


def view(client: httpx.Client, job: str) -> Any:
    answer = client.get(status_url(job))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_percentage_fits_the_stage_and_never_falls(gateway: Gateway, upstream: Upstream) -> None:
    with gateway.client() as client:
        job = new_job(client)
        upstream.set_state(job, "RUNNING", "Lip-sync processing", "Lip-sync processing...")
        # The percentage of the stage was not written yet.
        assert (view(client, job)["stage"], view(client, job)["progress"]) == (
            "lip-sync processing",
            10,
        )
        show_percent(upstream, job, 31.0)
        assert view(client, job)["progress"] == 31
        upstream.set_state(job, "RUNNING", "Text inpainting", "Text inpainting in progress...")
        assert (view(client, job)["stage"], view(client, job)["progress"]) == (
            "inpainting processing",
            70,
        )
        # The job died before it wrote the percentage, and is taken up again.
        upstream.set_state(job, "SCHEDULED", "AwaitingRetry")
        assert view(client, job)["progress"] == 70
        upstream.set_state(job, "RUNNING", "Running")
        assert view(client, job)["progress"] == 70
        listed = client.get(JOBS, params={"limit": 100}).json()["jobs"]
        assert [one["progress"] for one in listed if one["job_id"] == job] == [70]
        upstream.set_state(job, "FAILED", "Failed", "It failed")
        assert view(client, job)["progress"] == 70


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.COMPLETED])
def test_each_stage_begins_at_its_start(gateway: Gateway, upstream: Upstream, stage: Stage) -> None:
    with gateway.client() as client:
        job = new_job(client)
        upstream.set_state(job, "RUNNING", stage.value.name, stage.value.message)
        found = view(client, job)
        assert (found["stage"], found["progress"]) == (stage.label, int(stage.value.start))


def test_end_is_seen_within_the_life_of_the_cache(
    start_gateway: Callable[..., Gateway], upstream: Upstream, tokens: dict[str, str]
) -> None:
    gateway = start_gateway(status_cache_seconds=0.5, token_block=TOKENS)
    with gateway.client(tokens["anna"]) as client:
        job = new_job(client)
        upstream.set_state(job, "RUNNING", "Uploading", "Uploading files...")
        until(lambda: view(client, job)["stage"] == "uploading")
        upstream.set_state(job, "COMPLETED", "Completed")
        ended = time.monotonic()
        until(lambda: view(client, job)["status"] == "completed")
        # The rest is the time of one read on a busy machine.
        assert time.monotonic() - ended < 0.5 + 3.0
        assert view(client, job)["progress"] == 100


def test_a_status_that_is_too_old_is_a_503_while_prefect_is_away(
    upstream: Upstream, tokens: dict[str, str]
) -> None:
    with serving(
        upstream,
        through_relay=True,
        status_cache_seconds=0.3,
        token_block=TOKENS,
        upstream_seconds=1,
    ) as gateway:
        assert gateway.relay is not None
        with gateway.client(tokens["anna"]) as client:
            job = new_job(client)
            assert client.get(status_url(job)).status_code == 200
            gateway.relay.cut()
            until(lambda: client.get(status_url(job)).status_code == 503, 15)
            answer = client.get(status_url(job))
            assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
