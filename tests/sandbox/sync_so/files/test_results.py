"""Result links: redirect, ranges, expiry, and every way in which a download goes wrong."""

import itertools
from pathlib import Path

import httpx
import pytest

from tests.sandbox.sync_so.conftest import Links
from tests.sandbox.sync_so.vendor import Json, Vendor, client, whole_clip


@pytest.fixture
def done(vendor: Vendor, links: Links) -> Json:
    return vendor.until(vendor.accepted(whole_clip(links.video, links.audio)), "COMPLETED")


def get(url: str, **headers: str) -> httpx.Response:
    with client() as stranger:
        return stranger.get(url, headers=headers, follow_redirects=True)


def result(vendor: Vendor, id: str) -> bytes:
    return (Path(vendor.data_dir) / "generations" / id / "output.mp4").read_bytes()


def test_redirect_head_range_and_etag(vendor: Vendor, done: Json) -> None:
    whole = result(vendor, done["id"])
    link = httpx.get(done["outputUrl"], verify=False)
    assert link.status_code == 302
    answer = get(done["outputUrl"])
    assert answer.content == whole
    assert answer.headers["content-type"] == "video/mp4"
    tag = answer.headers["etag"]
    head = httpx.head(done["outputUrl"], follow_redirects=True, verify=False)
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(whole)), tag)
    part = get(done["outputUrl"], Range="bytes=100-199", **{"If-Range": tag})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"
    assert get(done["outputUrl"], Range=f"bytes={len(whole)}-").status_code == 416
    assert get(done["outputUrl"], Range="bytes=1-2", **{"If-Range": '"old"'}).content == whole
    vendor.settings(result_redirect=False)
    assert httpx.get(done["outputUrl"], verify=False).content == whole


def test_the_download_link_is_plain_text(vendor: Vendor, done: Json) -> None:
    answer = vendor.http.get(f"/v2/generations/{done['id']}/download")
    assert answer.headers["content-type"].startswith("text/plain")
    assert get(answer.text).content == result(vendor, done["id"])
    assert vendor.audit()["storage_requests_with_key"] == 0
    get(answer.text, **{"x-api-key": "sk-test"})
    assert vendor.audit()["storage_requests_with_key"] == 1


def test_a_link_expires_and_a_new_read_gives_a_fresh_one(vendor: Vendor, done: Json) -> None:
    vendor.settings(link_seconds=0)
    old = vendor.read(done["id"])["outputUrl"]
    assert get(old).status_code == 403
    vendor.settings(link_seconds=60)
    assert get(vendor.read(done["id"])["outputUrl"]).status_code == 200
    vendor.faults({"call": "download", "kind": "expired_link"})
    url = vendor.read(done["id"])["outputUrl"]
    assert [get(url).status_code, get(url).status_code] == [403, 403]
    assert get(vendor.read(done["id"])["outputUrl"]).status_code == 200


def test_a_made_up_token_opens_nothing(vendor: Vendor, done: Json) -> None:
    tokens = ("", "x", "1-0.a.b", "9999999999-0.aa.0123456789abcdef", "ä.ö.ü")
    paths = (
        f"/v2/generations/{done['id']}/result",
        f"/storage/results/{done['id']}/output.mp4",
    )
    for token, path in itertools.product(tokens, paths):
        url = httpx.URL(vendor.url + path, params={"token": token})
        assert get(str(url)).status_code == 403


def test_spoilt_downloads(vendor: Vendor, done: Json) -> None:
    whole = result(vendor, done["id"])
    vendor.faults(
        {"call": "download", "kind": "truncated", "keep": 0.25},
        {"call": "download", "kind": "short_file", "keep": 0.5},
        {"call": "download", "kind": "503_html"},
        {"call": "download", "kind": "slow_body", "seconds": 0.1},
    )
    received = bytearray()

    def read_on() -> None:
        with httpx.stream("GET", done["outputUrl"], follow_redirects=True, verify=False) as answer:
            assert answer.headers["content-length"] == str(len(whole))
            for chunk in answer.iter_bytes():
                received.extend(chunk)

    with pytest.raises(httpx.RemoteProtocolError):
        read_on()
    assert whole.startswith(received)
    assert len(received) <= len(whole) // 4
    assert get(done["outputUrl"]).content == whole[: len(whole) // 2]
    assert get(done["outputUrl"]).status_code == 503
    assert get(done["outputUrl"]).content == whole
