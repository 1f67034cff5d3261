"""The order of checks, the envelope, and faults of the transport."""

import re
from typing import Any

import httpx
import pytest

from tests.sandbox.ghostcut.vendor import GATEWAY, Vendor, sign

STATUS = f"{GATEWAY}/work/status"


def test_checks_come_in_the_vendors_order(vendor: Vendor) -> None:
    def code(method: str, raw: bytes, **headers: str) -> tuple[int, int, str]:
        answer = vendor.http.request(method, STATUS, content=raw, headers=headers)
        envelope = answer.json()
        assert re.fullmatch("[0-9a-f]{32}", envelope["trace"])
        assert envelope["body"] is None
        return answer.status_code, envelope["code"], envelope["msg"]

    good = sign(b"nonsense", vendor.secret)
    post_only = (200, 2002, "HttpMethod must be POST")
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert code(method, b"") == post_only
    missing = (200, 2001, "Requires Http header AppKey & AppSign")
    assert code("POST", b"nonsense") == missing
    assert code("POST", b"nonsense", AppKey=vendor.key) == missing
    assert code("POST", b"nonsense", AppSign=good) == missing
    assert code("POST", b"nonsense", AppKey="nobody", AppSign="0")[1:] == (
        2003,
        "AppKey is invalid",
    )
    assert code("POST", b"nonsense", AppKey=vendor.key, AppSign="0")[1:] == (
        2004,
        "AppSign is invalid",
    )
    broken = [b"nonsense", b"[]", b'{"a":NaN}', b"\xff", b"[" * 100_000, b'{"a":1e999}']
    for raw in [*broken, b'{"names":["\\ud800"]}', b""]:
        signature = sign(raw, vendor.secret)
        assert code("POST", raw, AppKey=vendor.key, AppSign=signature)[1] == 4001
    huge = b"{}" + b" " * (5 << 20)
    assert code("POST", huge, AppKey=vendor.key, AppSign=sign(huge, vendor.secret))[1] == 2004


def test_header_names_and_body_format_are_free(vendor: Vendor) -> None:
    raw = b' { "page" : 0 , "x" : "\xe6\xb5\x8b" }\n'
    headers = {"appkey": vendor.key, "APPSIGN": sign(raw, vendor.secret)}
    answer = vendor.http.post(STATUS, content=raw, headers=headers).json()
    assert (answer["code"], answer["msg"]) == (1000, "success")
    assert answer["body"] == {"content": [], "count": 0}


def test_one_changed_byte_breaks_the_signature(vendor: Vendor) -> None:
    signature = sign(b'{"page":0}', vendor.secret)
    answer = vendor.post(STATUS, b'{"page":1}', AppSign=signature)
    assert answer.json()["code"] == 2004


def test_names_come_back_as_they_were_sent(vendor: Vendor) -> None:
    raw = '{"urls":["http://127.0.0.1:9/a"],"names":["测试 ☂"],"needChineseOcclude":1}'.encode()
    assert vendor.post(f"{GATEWAY}/work/free", raw).json()["code"] == 1000
    answer = vendor.post(STATUS, {})
    assert answer.json()["body"]["content"][0]["name"] == "测试 ☂"
    assert "测试 ☂".encode() in answer.content


def test_a_changed_secret_is_the_only_one(vendor: Vendor) -> None:
    vendor.settings(app_secret="new")
    assert vendor.call("/work/status", {"page": 0})["code"] == 2004
    vendor.secret = "new"
    assert vendor.call("/work/status", {"page": 0})["code"] == 1000


def test_enum_query_needs_no_signature(vendor: Vendor) -> None:
    answer = vendor.http.post("/v-w-c/enum/query2", json={"text": "pRoCeSsStAtUs"}).json()
    codes = {item["code"] for item in answer["body"]}
    assert answer["code"] == 1000
    documented = {*range(-3, 4), 5, 6, 7, 13, 14, 16, 18, *range(20, 25), *range(26, 33), 43}
    assert codes == documented | {73, 83, 98, 99, 100, 111, 1000}
    assert {"description", "descriptionEn", "descriptionPt"} <= set(answer["body"][0])
    nothing = vendor.http.post("/v-w-c/enum/query2", json={"text": "none"}).json()
    assert nothing["body"] == []


def test_there_is_no_cancel_and_no_health(vendor: Vendor) -> None:
    for path in ("/work/cancel", "/health", "/work/submit"):
        assert vendor.post(GATEWAY + path, {}).status_code == 404


def test_faults_of_the_envelope(vendor: Vendor) -> None:
    vendor.faults(
        {"call": "create", "kind": "9999"},
        {"call": "create", "kind": "3006", "when": "after"},
        {"call": "create", "kind": "reject", "code": 4003, "msg": "no"},
    )
    answers = [vendor.call("/work/free", vendor.request()) for _ in range(4)]
    assert [answer["code"] for answer in answers] == [9999, 3006, 4003, 1000]
    assert answers[0]["msg"] == "System error"
    assert answers[2]["msg"] == "no"
    # The second answer hid an accepted work.
    assert len(vendor.jobs()) == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["502_html", "504", "drop_connection", "slow"])
def test_faults_of_the_transport(vendor: Vendor, kind: str, when: str) -> None:
    vendor.faults({"call": "create", "kind": kind, "when": when, "seconds": 60})
    vendor.http.timeout = httpx.Timeout(0.4)
    try:
        answer = vendor.post(f"{GATEWAY}/work/fast", vendor.request(names=["lost"]))
    except httpx.TransportError:
        assert kind in ("drop_connection", "slow")
    else:
        assert answer.status_code == int(kind[:3])
        assert "<html>" in answer.text
    vendor.http.timeout = httpx.Timeout(15)
    assert [row["name"] for row in vendor.rows()] == (["lost"] if when == "after" else [])


def test_faults_can_be_meant_for_one_work(vendor: Vendor) -> None:
    vendor.faults(
        {"call": "create", "kind": "9999", "match": {"reference": "b*"}},
        {"call": "status", "kind": "9999", "match": {"work": "1"}},
    )
    codes: list[Any] = [
        vendor.call("/work/free", vendor.request(names=[name]))["code"] for name in ("a1", "b1")
    ]
    assert codes == [1000, 9999]
    assert vendor.call("/work/status", {"idWorks": ["1"]})["code"] == 9999


def test_what_a_fault_names_is_checked(vendor: Vendor) -> None:
    for fault in ({"call": "create", "kind": "what"}, {"call": "cancel", "kind": "9999"}):
        answer = vendor.http.put("/_sandbox/faults", json={"faults": [fault]})
        assert answer.status_code == 400


def test_missing_trace(vendor: Vendor) -> None:
    vendor.settings(omit_trace=True)
    assert set(vendor.call("/work/status", {})) == {"msg", "code", "body"}
