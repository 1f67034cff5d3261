"""Upload tickets, the PUT, the library, and assets as inputs."""

import uuid
from pathlib import Path

from tests.sandbox.sync_so.conftest import Media
from tests.sandbox.sync_so.vendor import Json, Vendor, client


def ticket(vendor: Vendor, size: int, name: str = "a/b c.wav") -> Json:
    body = {"fileName": name, "contentType": "audio/wav", "size": size}
    answer = vendor.http.post("/v2/assets/upload", json=body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def test_a_put_has_to_be_what_the_ticket_says(vendor: Vendor, media: Media) -> None:
    data, plain = media.tone.read_bytes(), client()
    made = ticket(vendor, len(data))
    assert made["expiresIn"] == 604800
    url, wav = made["uploadUrl"], {"Content-Type": "audio/wav"}
    assert plain.put(url, content=data, headers={"Content-Type": "audio/x-wav"}).status_code == 403
    assert plain.put(made["url"], content=data, headers=wav).status_code == 403
    assert plain.put(url, content=data[:-1], headers=wav).status_code == 400
    assert plain.put(url, content=data + b"x", headers=wav).status_code == 400
    assert plain.get(made["url"]).status_code == 404
    registering = {"url": made["url"], "type": "AUDIO"}
    early = vendor.http.post("/v2/assets", json=registering)
    assert (early.status_code, early.json()["errorCode"]) == (404, "uploaded_file_not_found")
    assert plain.put(url, content=data, headers=wav).status_code == 200
    assert plain.get(made["url"]).content == data
    foreign = vendor.http.post("/v2/assets", json={**registering, "url": "https://x.example/a"})
    assert foreign.json()["errorCode"] == "file_not_in_org_storage"
    plain.close()


def test_a_too_large_ticket(strict: Vendor) -> None:
    for size, status in ((6 * 1024**3, 413), (0, 400), ("1", 400)):
        body = {"fileName": "a", "contentType": "audio/wav", "size": size}
        assert strict.http.post("/v2/assets/upload", json=body).status_code == status


def test_the_library_and_assets_as_inputs(vendor: Vendor, media: Media, tmp_path: Path) -> None:
    ids = {}
    for path, kind, declared in (
        (media.clip, "VIDEO", "video/mp4"),
        (media.tone, "AUDIO", "audio/wav"),
    ):
        url = vendor.upload(path, declared)
        asset = vendor.http.post("/v2/assets", json={"url": url, "type": kind, "name": kind}).json()
        assert asset["size"] == path.stat().st_size
        assert asset["durationSeconds"] > 0.5
        ids[kind] = asset["id"]
    listed = vendor.http.get("/v2/assets", params={"limit": 1, "sortBy": "nameAsc"}).json()
    assert [item["name"] for item in listed["items"]] == ["AUDIO"]
    assert listed["totalCount"] == 2
    rest = vendor.http.get(
        "/v2/assets", params={"cursor": listed["nextCursor"], "sortBy": "nameAsc"}
    ).json()
    assert [item["id"] for item in rest["items"]] == [ids["VIDEO"]]
    body = {
        "model": "lipsync-2",
        "input": [
            {"type": "video", "assetId": ids["VIDEO"]},
            {"type": "audio", "assetId": ids["AUDIO"]},
        ],
    }
    vendor.until(vendor.accepted(body), "COMPLETED")
    body["input"] = [{"type": "video", "assetId": ids["AUDIO"]}, {"type": "audio", "url": url}]
    assert vendor.create(body).json()["errorCode"] == "generation_input_asset_type_mismatch"
    renamed = vendor.http.patch(f"/v2/assets/{ids['AUDIO']}", json={"name": "new"})
    assert renamed.json()["name"] == "new"
    assert vendor.http.delete(f"/v2/assets/{ids['AUDIO']}").status_code == 200
    assert vendor.http.get(f"/v2/assets/{ids['AUDIO']}").status_code == 404
    assert vendor.http.get("/v2/assets/7").json()["errorCode"] == "invalid_asset_id_format"
    assert vendor.http.get(f"/v2/assets/{uuid.uuid4()}").json()["errorCode"] == "asset_not_found"
