"""Server, control API and transport faults together: a small application over real sockets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.control import control_routes
from sandbox.common.faults import FaultQueue
from sandbox.common.http_faults import TRANSPORT_KINDS, answer
from sandbox.common.server import PortTakenError, start_app
from sandbox.common.settings import Switch, SwitchBoard
from sandbox.common.store import Store

SWITCHES = {
    "seconds_per_job": None,
    "time_scale": 1.0,
    "strict": False,
    "style": Switch("missing", choices=("missing", "null")),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[httpx.Client]:
    store = Store(tmp_path / "s.sqlite3")
    faults = FaultQueue(store, {"do": TRANSPORT_KINDS})
    switches = SwitchBoard(store, SWITCHES)

    async def do(request: Request) -> Response:
        async def accept() -> Response:
            return JSONResponse({"done": store.counter("done"), "text": "x" * 64})

        return await answer(request.scope, faults.take("do"), accept)

    def audit() -> dict[str, Any]:
        return {"accepted": store.counter("done", by=0)}

    app = Starlette(
        routes=[
            Route("/do", do, methods=["POST"]),
            *control_routes(store, faults, switches, audit),
        ]
    )
    with (
        start_app(app) as running,
        httpx.Client(base_url=running.url, timeout=10, trust_env=False) as client,
    ):
        yield client
    store.close()


def fault(client: httpx.Client, kind: str, **params: object) -> None:
    body = {"faults": [{"call": "do", "kind": kind, **params}]}
    client.put("/_sandbox/faults", json=body).raise_for_status()


def done(client: httpx.Client) -> int:
    return int(client.get("/_sandbox/audit").json()["accepted"])


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("500_html", 500),
        ("502_html", 502),
        ("503_html", 503),
        ("504", 504),
        ("403_html", 403),
        ("404_html", 404),
    ],
)
@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
def test_an_error_page_before_or_after_the_work(
    server: httpx.Client, kind: str, status: int, when: str, accepted: int
) -> None:
    fault(server, kind, when=when)
    answer = server.post("/do")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert done(server) == accepted
    assert server.post("/do").status_code == 200


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
def test_the_connection_is_dropped(server: httpx.Client, when: str, accepted: int) -> None:
    fault(server, "drop_connection", when=when)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        server.post("/do")
    assert done(server) == accepted
    assert server.post("/do").json()["done"] == accepted + 1


def test_truncation_is_a_wrong_document_or_a_broken_line(server: httpx.Client) -> None:
    fault(server, "truncate_json")
    answer = server.post("/do")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    fault(server, "truncate_body")
    with pytest.raises(httpx.RemoteProtocolError):
        server.post("/do")
    assert done(server) == 2


def test_rate_limit_slow_and_unknown_fields(server: httpx.Client) -> None:
    fault(server, "429_rate", retry_after=2)
    limited = server.post("/do")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "2")
    assert done(server) == 0
    fault(server, "slow", seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        server.post("/do", timeout=0.1)
    fault(server, "extra_fields")
    answer = server.post("/do").json()
    assert answer["done"] >= 1
    assert "traceId" in answer


def test_settings_are_checked_by_name_and_type(server: httpx.Client) -> None:
    changed = server.put("/_sandbox/settings", json={"seconds_per_job": 0.5, "strict": True})
    assert changed.json() == {
        "seconds_per_job": 0.5,
        "time_scale": 1.0,
        "strict": True,
        "style": "missing",
    }
    for bad, name in [
        ({"strict": True, "sttrict": True}, "sttrict"),
        ({"strict": 1}, "strict"),
        ({"time_scale": None}, "time_scale"),
        ({"time_scale": -1}, "time_scale"),
        ({"style": "loud"}, "style"),
        ([], "object"),
    ]:
        answer = server.put("/_sandbox/settings", json=bad)
        assert answer.status_code == 400
        assert name in answer.json()["error"]
    answer = server.put("/_sandbox/settings", content=b'{"time_scale": Infinity}')
    assert answer.status_code == 400
    assert server.get("/_sandbox/settings").json() == changed.json()


def test_the_fault_queue_is_shown_replaced_and_cleared(server: httpx.Client) -> None:
    fault(server, "slow", seconds=1, times=3)
    fault(server, "504")
    queue = server.get("/_sandbox/faults").json()["faults"]
    assert [entry["kind"] for entry in queue] == ["504"]
    more = {"faults": [{"call": "do", "kind": "500_html"}, {"call": "do", "kind": "504"}]}
    queue = server.post("/_sandbox/faults", json=more).json()["faults"]
    assert [entry["kind"] for entry in queue] == ["504", "500_html", "504"]
    assert server.delete("/_sandbox/faults").json() == {"faults": []}
    for bad in (b"", b"[]", b'{"faults": {}}', b'{"faults": [{}]}', b"[" * 100_000):
        assert server.put("/_sandbox/faults", content=bad).status_code == 400
        assert server.post("/_sandbox/faults", content=bad).status_code == 400
    assert server.get("/_sandbox/health").json() == {"status": "ok"}


def test_a_taken_port_is_an_error_of_its_own(server: httpx.Client) -> None:
    port = server.base_url.port
    assert port is not None
    with pytest.raises(PortTakenError, match=str(port)):
        start_app(Starlette(), port=port)
