"""Sync.so's webhook signature."""

from __future__ import annotations

import pytest

from pro_video.providers.sync_so.signature import is_authentic, signature

SECRET = "whsec_test_0123456789abcdef"
WHEN = 1767225600
BODY = (
    b'{"id":"6533643b-aceb-4c40-967e-d9ba9baac39e","status":"COMPLETED",'
    b'"createdAt":"2026-01-01T00:00:00.000Z","model":"lipsync-2",'
    b'"input":[{"type":"video","url":"http://127.0.0.1:9/v.mp4"},'
    b'{"type":"audio","url":"http://127.0.0.1:9/a.wav","refId":"r1"}],'
    b'"outputUrl":"http://127.0.0.1:9/o.mp4","outputDuration":4.0}'
)
DIGEST = "b9b9e6378400a68fee23b2bce74de89cd3e9cbd30c04c9726b8175146f962d1e"
GOOD = f"t={WHEN},v1={DIGEST}"


def test_the_whole_secret_signs_time_dot_raw_body() -> None:
    assert len(BODY) == 308
    assert signature(SECRET, WHEN, BODY) == DIGEST


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        f"v1={DIGEST},t={WHEN}",
        f"t={WHEN}, v1={DIGEST}",
        f"t={WHEN},v0=abc,v1={'0' * 64},v1={DIGEST}",
    ],
)
def test_accepts_what_is_signed(header: str) -> None:
    assert is_authentic(header, BODY, [SECRET], now=WHEN)


@pytest.mark.parametrize("secrets", [[SECRET, "whsec_new"], ["whsec_new", SECRET]])
def test_either_secret_counts_while_it_is_changed(secrets: list[str]) -> None:
    assert is_authentic(GOOD, BODY, secrets, now=WHEN)


@pytest.mark.parametrize("secrets", [[], [""], ["whsec_other"], [SECRET.removeprefix("whsec_")]])
def test_no_other_secret_counts(secrets: list[str]) -> None:
    assert not is_authentic(GOOD, BODY, secrets, now=WHEN)


@pytest.mark.parametrize(
    ("off", "accepted"), [(300, True), (-300, True), (301, False), (-301, False)]
)
def test_a_message_lives_for_five_minutes(off: int, accepted: bool) -> None:
    assert is_authentic(GOOD, BODY, [SECRET], now=WHEN + off) is accepted


def test_every_byte_of_the_body_counts() -> None:
    assert not is_authentic(GOOD, BODY + b"\n", [SECRET], now=WHEN)
    assert not is_authentic(GOOD, BODY.replace(b"4.0", b"4"), [SECRET], now=WHEN)


def test_a_newer_time_is_not_covered_by_an_older_signature() -> None:
    assert not is_authentic(f"t={WHEN + 900},v1={DIGEST}", BODY, [SECRET], now=WHEN + 900)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=,v1=",
        f"t={WHEN}",
        f"v1={DIGEST}",
        f"t={WHEN},v1={DIGEST.upper()}",
        f"t={WHEN},v1={DIGEST}0",
        f"t=+{WHEN},v1={DIGEST}",
        f"t={WHEN}.0,v1={DIGEST}",
        f"t={WHEN},t={WHEN + 900},v1={DIGEST}",
        f"t={WHEN},v1=é{DIGEST[1:]}",
        f"t={WHEN},s={DIGEST}",
        "t=" + "9" * 5000 + f",v1={DIGEST}",
        f"t={WHEN}," + f"v1={'0' * 64}," * 100 + f"v1={DIGEST}",
    ],
)
def test_refuses_what_is_no_such_header(header: str | None) -> None:
    assert not is_authentic(header, BODY, [SECRET], now=WHEN)
