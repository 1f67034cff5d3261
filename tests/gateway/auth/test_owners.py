"""Access: tokens, the local machine without them, pages, and limits."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import httpx
import pytest

from gateway import tokens as command
from gateway.auth.token_store import GatewayTokens, new_token
from gateway.base.settings import GatewaySettings, get_gateway_settings
from gateway.prefect_client.runs import UNFINISHED
from tests.gateway.gateways import FORM, JOBS, UPLOADS, Gateway, Upstream, form, json_job, until


def test_tokens_are_made_listed_and_revoked(
    start_gateway: Callable[..., Gateway],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = f"tokens-of-the-command-{secrets.token_hex(4)}"
    monkeypatch.setenv("PRO_VIDEO_GATEWAY_TOKEN_BLOCK", block)
    get_gateway_settings.cache_clear()
    try:
        gateway = start_gateway(token_block=block, token_seconds=0)
        with gateway.client() as client:
            assert client.get(JOBS).status_code == 200
            assert command.main(["create", "anna"]) == 0
            token = capsys.readouterr().out.strip()
            until(lambda: client.get(JOBS).status_code == 401)
            answer = client.get(JOBS)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.json()["code"] == "unauthorized"
        with gateway.client(token) as client:
            assert client.get(JOBS).status_code == 200
            assert command.main(["list"]) == 0
            line = capsys.readouterr().out
            assert "anna" in line
            assert token not in line
            kept = asyncio.run(_kept(block))
            assert token not in kept
            assert token.removeprefix("pvk_") not in kept
            assert command.main(["create", "ben"]) == 0
            assert command.main(["revoke", line.split()[0]]) == 0
            assert command.main(["revoke", line.split()[0]]) == 1
            assert client.get(JOBS).status_code == 401
        assert command.main(["create", "../anna"]) == 2
        # Without the last token all requests are still refused.
        assert command.main(["list"]) == 0
        assert command.main(["revoke", capsys.readouterr().out.splitlines()[-1].split()[0]]) == 0
        with start_gateway(token_block=block).client() as client:
            assert client.get(JOBS).status_code == 401
    finally:
        get_gateway_settings.cache_clear()


async def _kept(name: str) -> str:
    block: GatewayTokens = await GatewayTokens.aload(name)
    assert "hash" not in repr(block)
    return str(block.tokens.get_secret_value())


def test_wrong_tokens(owned: Gateway, tokens: dict[str, str]) -> None:
    other, _ = new_token("anna")
    for value in (f"Bearer {other}", "Bearer", "Basic YTpi", f"Bearer {tokens['anna'][:-1]}"):
        with owned.client() as client:
            assert client.get(JOBS, headers={"Authorization": value}).status_code == 401
    with owned.client() as client:
        # With tokens, local clients need one too; health is public.
        assert client.post(FORM, **form()).status_code == 401
        assert client.get("/healthz").status_code == 200


def test_a_token_is_never_ignored(gateway: Gateway, tokens: dict[str, str]) -> None:
    """A request with a token is its owner's, also where none is needed."""
    with gateway.client(tokens["anna"]) as client:
        assert client.get(JOBS).status_code == 401


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("X-Forwarded-For", "203.0.113.5", 401),
        ("X-Forwarded-Proto", "https", 401),
        ("Forwarded", "for=203.0.113.5", 401),
        ("CF-Connecting-IP", "203.0.113.5", 401),
        ("CF-Ray", "8f1a", 401),
        ("True-Client-IP", "203.0.113.5", 401),
        ("Host", "203.0.113.5", 401),
        ("Host", "rebound.example.com", 403),
        ("Origin", "https://evil.example.com", 403),
        ("Origin", "null", 403),
    ],
)
def test_only_this_machine_without_a_token(
    start_gateway: Callable[..., Gateway], header: str, value: str, status: int
) -> None:
    with start_gateway().client() as client:
        assert client.post(FORM, **form()).status_code == 200
        assert client.post(FORM, **form(), headers={header: value}).status_code == status
        assert client.get(JOBS, headers={header: value}).status_code == status


def test_names_of_hosts(start_gateway: Callable[..., Gateway]) -> None:
    """A page that lets its own name point here (DNS rebinding) gets nothing, not even health."""

    def asked(gateway: Gateway, host: str) -> httpx.Response:
        with gateway.client() as client:
            return client.get("/healthz", headers={"Host": host})

    gateway = start_gateway()
    for host in ("localhost:4204", "127.0.0.1", "[::1]:4204", "LOCALHOST", "192.0.2.7:8080"):
        assert asked(gateway, host).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:4204", "[::1"):
        answer = asked(gateway, host)
        assert (answer.status_code, answer.json()["code"]) == (403, "host_refused"), host
    named = start_gateway(allowed_hosts=["video.example.com"])
    assert asked(named, "video.example.com:8443").status_code == 200
    assert asked(named, "evil.example").status_code == 403
    assert asked(start_gateway(allowed_hosts=["*"]), "evil.example").status_code == 200
    with named.client() as client:
        # Without a token the API itself stays this machine's.
        assert client.get(JOBS, headers={"Host": "video.example.com"}).status_code == 401


def test_cors_by_setting(start_gateway: Callable[..., Gateway]) -> None:
    page = {"Origin": "https://editor.example.com"}
    asking = {**page, "Access-Control-Request-Method": "POST"}
    with start_gateway(cors_origins=["https://editor.example.com"]).client() as client:
        answer = client.post(FORM, **form(), headers=page)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert client.options(FORM, headers=asking).status_code == 200
        other = {**asking, "Origin": "https://evil.example.com"}
        assert client.options(FORM, headers=other).status_code == 400
    with start_gateway().client() as client:
        assert "Access-Control-Allow-Origin" not in client.get("/healthz", headers=page).headers


def refused(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, code), answer.text
    assert int(answer.headers["Retry-After"]) >= 1


def test_limits(start_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    limited = start_gateway(jobs_in_flight=upstream.count_runs("local", *UNFINISHED) + 1)
    with limited.client() as client:
        key = {"Idempotency-Key": f"limit-{limited.url}"}
        first = client.post(JOBS, json=json_job(), headers=key)
        assert first.status_code == 201
        refused(client.post(JOBS, json=json_job()), "too_many_jobs")
        refused(client.post(FORM, **form()), "too_many_jobs")
        # A repetition makes no job.
        assert client.post(JOBS, json=json_job(), headers=key).json() == first.json()
        client.post(f"{JOBS}/{first.json()['job_id']}/cancel")
        assert client.post(JOBS, json=json_job()).status_code == 201

    with start_gateway(requests_per_second=0.5, request_burst=3).client() as client:
        answers = [client.get(JOBS) for _ in range(4)]
        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        refused(answers[3], "too_many_requests")

    before = upstream.keys("uploads/")
    stored = sum(len(upstream.content(key)) for key in before if "/local/" in key)
    with start_gateway(stored_bytes=stored + 5000).client() as client:
        refused(client.post(FORM, **form(video=b"v" * 6000)), "storage_limit")
        refused(client.post(UPLOADS, json={"filename": "a.mp4", "size": 6000}), "storage_limit")
        assert client.post(FORM, **form(video=b"v" * 1000)).status_code == 200


def test_settings_are_checked() -> None:
    GatewaySettings(source_prefixes=["s3://bucket/", "s3://bucket/a/b/"])
    for prefix in ("s3://bucket/prefix", "s3://bucket", "s3://", "s3:///", "s3://bucket/a/../"):
        with pytest.raises(ValueError, match="s3://bucket/prefix/"):
            GatewaySettings(source_prefixes=[prefix])
