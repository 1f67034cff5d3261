import base64
import hashlib
import json

import httpx
import pytest

from tests.sandbox.control import wait_until
from tests.sandbox.ghostcut.vendor import GATEWAY, Vendor


def apply(vendor: Vendor, **fields: object) -> dict[str, str]:
    request = {"nonce": "n", "materialFileType": "video", **fields}
    body: dict[str, str] = vendor.body("/file/upload/policy/apply", request)
    return body


def form(grant: dict[str, str], **changes: str) -> dict[str, str]:
    fields = {
        "key": grant["dir"] + "a.mp4",
        "OSSAccessKeyId": grant["accessid"],
        "policy": grant["policy"],
        "signature": grant["signature"],
        "callback": grant["base64CallbackBody"],
        "success_action_status": "200",
    }
    return {**fields, **changes}


def test_upload_use_and_removal(vendor: Vendor, plain: httpx.Client) -> None:
    content = plain.get(vendor.source).content
    policy = apply(vendor)
    answer = plain.post(policy["host"], data=form(policy), files={"file": ("a.mp4", content)})
    assert (answer.status_code, answer.content) == (200, b'{"Status":"OK"}')
    digest = base64.b64decode(answer.headers["Content-MD5"])
    assert digest == hashlib.md5(content).digest()
    url = policy["urlPrefix"] + "a.mp4"
    assert plain.get(url).content == content
    assert vendor.ended(vendor.submit(urls=[url]))["processStatus"] == 1
    removal = {"key": policy["dir"] + "a.mp4"}
    assert vendor.body("/file/remove", removal) == 1
    assert vendor.body("/file/remove", removal) == 0
    assert vendor.body("/file/remove", {"key": "material/other/x"}) == 0
    assert plain.get(url).status_code == 404


def test_policy_answer(vendor: Vendor) -> None:
    policy = apply(vendor, expireSeconds=60)
    assert set(policy) == {
        "accessid",
        "base64CallbackBody",
        "dir",
        "expire",
        "host",
        "ossBucket",
        "ossEndpoint",
        "policy",
        "signature",
        "urlPrefix",
    }
    assert policy["ossBucket"] == "ghost-cut"
    assert policy["expire"].isdigit()


@pytest.mark.parametrize(
    "fields",
    [
        {"nonce": ""},
        {"nonce": None},
        {"materialFileType": "exe"},
        {"expireSeconds": 0},
        {"expireSeconds": 86401},
        {"expireSeconds": "60"},
    ],
)
def test_policy_refusals(vendor: Vendor, fields: dict[str, object]) -> None:
    request = {"nonce": "n", **fields}
    assert vendor.call("/file/upload/policy/apply", request)["code"] == 4001


def test_form_refusals(vendor: Vendor, plain: httpx.Client) -> None:
    policy = apply(vendor)
    expired = json.loads(base64.b64decode(policy["policy"]))
    expired["expiration"] = "2020-01-01T00:00:00.000Z"
    forged = base64.b64encode(json.dumps(expired).encode()).decode()
    file = {"file": ("a.mp4", b"x")}
    for changes in (
        {"policy": forged},
        {"signature": "AAAA"},
        {"OSSAccessKeyId": "other"},
        {"key": "material/elsewhere/a.mp4"},
        {"key": policy["dir"]},
    ):
        answer = plain.post(policy["host"], data=form(policy, **changes), files=file)
        assert answer.status_code == 403, changes
    assert plain.post(policy["host"], data=form(policy)).status_code == 400
    parts = [("file", ("a.mp4", b"x"))]
    late = [(name, (None, value)) for name, value in form(policy).items()]
    assert plain.post(policy["host"], files=[*parts, *late]).status_code == 400
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert plain.post(policy["host"], content=b"garbage", headers=headers).status_code == 400


def test_policy_expires(vendor: Vendor, plain: httpx.Client) -> None:
    policy = apply(vendor, expireSeconds=1)
    file = {"file": ("a.mp4", b"x")}
    wait_until(lambda: plain.post(policy["host"], data=form(policy), files=file).status_code == 403)


def test_uploads_are_signed_calls(vendor: Vendor) -> None:
    answer = vendor.http.post(f"{GATEWAY}/file/upload/policy/apply", json={"nonce": "n"})
    assert answer.json()["code"] == 2001
