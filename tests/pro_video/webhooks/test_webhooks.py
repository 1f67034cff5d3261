"""Standard Webhooks signatures."""

from __future__ import annotations

import base64
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pro_video.webhooks.signing import (
    SecretUnusable,
    new_secret,
    secret_key,
    signature,
    signed_headers,
)

# The example of the Standard Webhooks libraries' own tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
WHEN = 1614265330
BODY = b'{"test": 2432232314}'
EXPECTED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_example() -> None:
    assert signature(SECRET, MESSAGE, WHEN, BODY) == EXPECTED


def test_receivers_accept_a_message_while_its_secret_is_changed() -> None:
    old, new = new_secret(), new_secret()
    sent = signed_headers([new, old], MESSAGE, int(time.time()), BODY)
    for known in (old, new):
        assert Webhook(known).verify(BODY, sent) == json.loads(BODY)
    for secret, body in ((new_secret(), BODY), (new, BODY + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, sent)


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
