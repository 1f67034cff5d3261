"""Standard Webhooks signatures."""

from __future__ import annotations

import base64

import pytest

from pro_video.webhooks.signing import (
    SecretUnusable,
    SignatureRefused,
    new_secret,
    secret_key,
    signature,
    signed_headers,
    verify,
)

# The example of the Standard Webhooks libraries' own tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
WHEN = 1614265330
BODY = b'{"test": 2432232314}'
EXPECTED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(**changes: str) -> dict[str, str]:
    good = signed_headers([SECRET], MESSAGE, WHEN, BODY)
    return good | {name.replace("_", "-"): value for name, value in changes.items()}


def test_the_specifications_example() -> None:
    assert signature(SECRET, MESSAGE, WHEN, BODY) == EXPECTED


def test_a_receiver_accepts_what_we_sign() -> None:
    secret = new_secret()
    sent = signed_headers([secret], "msg_1", WHEN, BODY)
    assert verify([secret], sent, BODY, now=WHEN + 10) == "msg_1"


def test_both_secrets_sign_during_a_change() -> None:
    old, new = new_secret(), new_secret()
    sent = signed_headers([new, old], "msg_1", WHEN, BODY)
    for known in (old, new):
        assert verify([known], sent, BODY, now=WHEN) == "msg_1"
    with pytest.raises(SignatureRefused):
        verify([new_secret()], sent, BODY, now=WHEN)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_id": "msg_other"},
        {"webhook_id": ""},
        {"webhook_timestamp": str(WHEN + 1)},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "-1"},
        {"webhook_signature": ""},
        {"webhook_signature": EXPECTED.replace("v1,", "v2,")},
        {"webhook_signature": EXPECTED.removeprefix("v1,")},
        {"webhook_signature": "v1,ä"},
        {"webhook_signature": "v1,AAAA " * 100 + EXPECTED},
    ],
)
def test_refuses_changed_headers(changed: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        verify([SECRET], headers(**changed), BODY, now=WHEN)


def test_refuses_a_changed_body() -> None:
    with pytest.raises(SignatureRefused):
        verify([SECRET], headers(), BODY + b" ", now=WHEN)


@pytest.mark.parametrize("off", [301, -301])
def test_refuses_another_time(off: int) -> None:
    with pytest.raises(SignatureRefused):
        verify([SECRET], headers(), BODY, now=WHEN + off)


@pytest.mark.parametrize("size", [24, 64])
def test_takes_secrets_of_the_allowed_sizes(size: int) -> None:
    key = bytes(range(size))
    assert secret_key("whsec_" + base64.b64encode(key).decode()) == key


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_short",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(32)).decode().rstrip("="),
        "whsec_" + "ä" * 40,
        "whsec_" + base64.b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_refuses_other_secrets_without_repeating_them(secret: str) -> None:
    with pytest.raises(SecretUnusable) as refused:
        secret_key(secret)
    assert len(secret) < 12 or secret not in str(refused.value)


def test_two_secrets_differ() -> None:
    assert new_secret() != new_secret()
