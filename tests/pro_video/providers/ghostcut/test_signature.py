"""GhostCut's callback signature."""

from __future__ import annotations

import hashlib

import pytest

from pro_video.providers.ghostcut.signature import is_authentic

SECRET = "app-secret"
BODY = '{"id":12345,"processStatus":1,"errorDetail":"完成"}'.encode()


def signed(body: bytes, secret: str) -> str:
    inner = hashlib.md5(body).hexdigest()
    return hashlib.md5((inner + secret).encode()).hexdigest()


def test_accepts_the_app_secret_and_the_one_before() -> None:
    assert is_authentic(signed(BODY, SECRET), BODY, [SECRET])
    assert is_authentic(signed(BODY, SECRET), BODY, ["newer", SECRET])


@pytest.mark.parametrize("secrets", [[], [""], ["other"]])
def test_no_other_secret_counts(secrets: list[str]) -> None:
    assert not is_authentic(signed(BODY, SECRET), BODY, secrets)
    assert not is_authentic(signed(BODY, ""), BODY, secrets)


def test_every_byte_counts() -> None:
    assert not is_authentic(signed(BODY, SECRET), BODY + b" ", [SECRET])


@pytest.mark.parametrize("header", [None, "", "x", "ä" * 32, "0" * 32, "0" * 10000])
def test_refuses_what_is_no_signature(header: str | None) -> None:
    assert not is_authentic(header, BODY, [SECRET])


def test_refuses_upper_case() -> None:
    assert not is_authentic(signed(BODY, SECRET).upper(), BODY, [SECRET])
