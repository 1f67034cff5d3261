"""The editor's form, as its frontend sends it."""

from __future__ import annotations

from tests.deployments.gateway.kit import FORM, SEGMENTS, Gateway, World, form


def test_form_becomes_job(gateway: Gateway, world: World) -> None:
    with gateway.client() as client:
        answer = client.post(FORM, **form())
        assert answer.status_code == 200, answer.text
        created = answer.json()
        assert created["segments_count"] == 3
        assert created["status"] == "processing"
        assert created["sync_generation_id"] is None
        run = world.run(created["job_id"])
        parameters = run["parameters"]
        assert "owner:local" in run["tags"]
        video = parameters["video"].removeprefix("s3://gateway-bucket/")
        assert world.content(video) == b"v" * 1000
        audios = [segment["audio"] for segment in parameters["segments"]]
        # The i-th file belongs to the i-th distinct refId.
        assert audios[0] == audios[2] != audios[1]
        assert world.content(audios[1].removeprefix("s3://gateway-bucket/")) == b"b" * 100
        status = client.get(created["status_url"])
        assert status.status_code == 200, status.text
        view = status.json()
        assert view["segments_data"] == SEGMENTS
        assert view["status"] == "processing"
        assert view["progress"] == 0
        assert view["output_url"] is None
