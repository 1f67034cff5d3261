"""From acceptance to the end: real processing, faults of a job, and crashes in between."""

import asyncio
import time
from pathlib import Path

import pytest
from PIL import Image

from sandbox.common.media_pool import MediaPool
from sandbox.sync_so.work.processing import probe
from tests.sandbox.control import emulator_to_kill
from tests.sandbox.sync_so.conftest import Links, Media
from tests.sandbox.sync_so.vendor import (
    CLIP_SECONDS,
    FPS,
    KEY,
    Json,
    Vendor,
    client,
    one_segment,
    running,
    whole_clip,
)
from tests.support.media.clips import write_clip


def download(url: str, path: Path) -> Path:
    with client() as stranger:
        path.write_bytes(stranger.get(url, follow_redirects=True).content)
    return path


def test_segments_are_processed_and_billed_by_frame(
    vendor: Vendor, links: Links, tmp_path: Path
) -> None:
    vendor.settings(media="process")
    body = one_segment(links.video, links.audio, options={"sync_mode": "cut_off"})
    done = vendor.until(vendor.accepted(body), "COMPLETED")
    whole = probe(download(done["outputUrl"], tmp_path / "whole.mp4"))
    part = probe(download(done["segmentOutputUrl"], tmp_path / "part.mp4"))
    assert done["outputDuration"] == pytest.approx(CLIP_SECONDS, abs=0.05)
    assert (whole.width, whole.height, whole.frames) == (96, 64, round(CLIP_SECONDS * FPS))
    assert whole.has_audio
    assert part.video_seconds == pytest.approx(0.8, abs=0.05)
    kept = {path.name for path in (vendor.data_dir / "generations" / done["id"]).iterdir()}
    assert kept == {"output.mp4", "segments.mp4"}
    audit = vendor.audit()
    assert audit["frames_billed"] == {"lipsync-2": 50}
    assert audit["usd_billed"] == 0.1
    assert [(job["billed"], job["status"]) for job in audit["jobs"]] == [(1, "COMPLETED")]


@pytest.mark.parametrize(
    ("fault", "seconds", "sound"),
    [
        ("wrong_duration", 1.5, True),
        ("audio_dropped", 2.0, False),
        ("watermark", 2.0, True),
        ("silence_outside", 2.0, True),
    ],
)
def test_faults_of_the_media(
    vendor: Vendor, links: Links, tmp_path: Path, fault: str, seconds: float, sound: bool
) -> None:
    vendor.settings(media="process")
    vendor.faults({"call": "job", "kind": fault, "match": {"model": "lipsync-2"}})
    done = vendor.until(vendor.accepted(one_segment(links.video, links.audio)), "COMPLETED")
    found = probe(download(done["outputUrl"], tmp_path / "out.mp4"))
    assert found.video_seconds == pytest.approx(seconds, abs=0.08)
    assert found.has_audio is sound


def test_a_mode_of_the_segment_rules(vendor: Vendor, links: Links) -> None:
    """0.8 s of sound on a range of 0.4 s: only a mode that retimes makes the whole longer."""
    vendor.settings(media="process")
    body = one_segment(links.video, links.audio)
    body["segments"][0]["endTime"] = 0.8
    longer = vendor.accepted(body)
    body["segments"][0]["optionsOverride"] = {"sync_mode": "cut_off"}
    kept = vendor.accepted(body)
    assert vendor.until(longer, "COMPLETED")["outputDuration"] == pytest.approx(2.4, abs=0.08)
    assert vendor.until(kept, "COMPLETED")["outputDuration"] == pytest.approx(2.0, abs=0.08)


def test_text_and_image_inputs(vendor: Vendor, links: Links, tmp_path: Path) -> None:
    vendor.settings(media="process")
    image = tmp_path / "face.png"
    Image.new("RGB", (64, 48), (90, 120, 150)).save(image)
    picture = vendor.upload(image, "image/png")
    script = "A line of thirty characters ..."[:30]
    body: Json = {
        "model": "sync-3",
        "input": [
            {"type": "image", "url": picture},
            {
                "type": "text",
                "provider": {"name": "elevenlabs", "voiceId": "v", "script": script},
            },
        ],
    }
    done = vendor.until(vendor.accepted(body), "COMPLETED")
    assert done["outputDuration"] == pytest.approx(2.0, abs=0.1)
    speech = probe(download(done["synthesizedAudioUrl"], tmp_path / "speech.wav"))
    assert speech.audio_seconds == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "rejected"}, "REJECTED", "generation_input_validation_failed"),
        ({"kind": "failed"}, "FAILED", "generation_unknown_error"),
        (
            {"kind": "failed", "code": "generation_pipeline_failed", "message": "Because."},
            "FAILED",
            "generation_pipeline_failed",
        ),
        ({"kind": "unknown_status"}, "CANCELED", None),
    ],
)
def test_bad_ends_are_not_billed(
    vendor: Vendor, links: Links, fault: Json, status: str, code: str | None
) -> None:
    vendor.faults({"call": "job", **fault})
    ended = vendor.until(vendor.accepted(whole_clip(links.video, links.audio)), status)
    assert ended.get("errorCode") == code
    if "message" in fault:
        assert ended["error"] == fault["message"]
    audit = vendor.audit()
    assert (audit["accepted"], audit["billed"]) == (1, 0)
    assert audit["jobs"][0]["error_code"] == code


def test_stuck_slow_and_extra_fields(vendor: Vendor, links: Links) -> None:
    vendor.faults(
        {"call": "job", "kind": "stuck"},
        {"call": "job", "kind": "stuck", "status": "PENDING"},
        {"call": "job", "kind": "slow", "seconds": 0.5},
        {"call": "job", "kind": "extra_fields"},
    )
    body = whole_clip(links.video, links.audio)
    processing, pending, slow, extra = (vendor.accepted(body) for _ in range(4))
    started = time.monotonic()
    assert "vendorTrace" in vendor.until(extra, "COMPLETED")
    vendor.until(slow, "COMPLETED")
    assert time.monotonic() - started > 0.2
    vendor.until(processing, "PROCESSING")
    assert vendor.read(pending, wait="true", timeout=1)["status"] == "PENDING"


@pytest.mark.parametrize("delivery", ["failed", "rejected", "sync"])
def test_what_only_the_media_show(
    vendor: Vendor, links: Links, tmp_path: Path, delivery: str
) -> None:
    vendor.settings(media_errors=delivery)
    rubbish = tmp_path / "page.mp4"
    rubbish.write_text("<html>this is not a video</html>")
    bad = vendor.upload(rubbish, "video/mp4")
    gone = f"{vendor.url}/storage/uploads/00000000-0000-4000-8000-000000000000/x.mp4"
    beyond = one_segment(links.video, links.audio)
    beyond["segments"][0].update(startTime=1.5, endTime=CLIP_SECONDS + 0.002)
    cropped = one_segment(links.video, links.audio)
    cropped["segments"][0]["audioInput"].update(startTime=0.2, endTime=0.9)
    boxes = whole_clip(
        links.video,
        links.audio,
        options={"active_speaker_detection": {"bounding_boxes": [[1, 2, 3, 4]] * 49}},
    )
    for body, code in [
        (whole_clip(bad, links.audio), "generation_input_video_invalid"),
        (whole_clip(links.video, links.video), "generation_input_audio_invalid"),
        (whole_clip(gone, links.audio), "generation_input_video_inaccessible"),
        (
            whole_clip(links.video, "http://127.0.0.1:9/a.wav"),
            "generation_input_audio_inaccessible",
        ),
        (beyond, "generation_input_segments_invalid"),
        (cropped, "generation_input_trim_invalid"),
        (boxes, "generation_input_face_selection_invalid"),
    ]:
        if delivery == "sync":
            answer = vendor.create(body)
            assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
        else:
            ended = vendor.until(vendor.accepted(body), delivery.upper())
            assert ended["errorCode"] == code
    assert vendor.audit()["billed"] == 0


def test_limits_of_size_and_length(vendor: Vendor, links: Links, tmp_path: Path) -> None:
    long = vendor.upload(write_clip(tmp_path / "long.mp4", seconds=16.0), "video/mp4")
    body = whole_clip(long, links.audio)
    ended = vendor.until(vendor.accepted({**body, "model": "react-1"}), "FAILED")
    assert ended["errorCode"] == "generation_model_duration_exceeded"
    wide = write_clip(tmp_path / "wide.mp4", seconds=0.04, width=4200, height=64)
    large = vendor.upload(wide, "video/mp4")
    ended = vendor.until(vendor.accepted(whole_clip(large, links.audio)), "FAILED")
    assert ended["errorCode"] == "generation_input_resolution_unsupported"


def test_a_killed_emulator_continues(tmp_path: Path, media: Media, pool: MediaPool) -> None:
    """Jobs of a killed process end in the next one, when they were due and billed once each."""
    with emulator_to_kill("sync-so", tmp_path, f"--api-key={KEY}") as (_, url):
        vendor = Vendor(url, tmp_path)
        vendor.settings(seconds_per_job=2, media="process")
        vendor.faults({"call": "job", "kind": "stuck", "match": {"reference": "stuck"}})
        body = one_segment(
            vendor.upload(media.clip, "video/mp4"), vendor.upload(media.tone, "audio/wav")
        )
        ids = [vendor.accepted(body, f"k{n}") for n in range(3)]
        stuck = vendor.accepted({**body, "outputFileName": "stuck"})
        vendor.until(ids[0], "PROCESSING", "COMPLETED")
        vendor.http.close()
    with running(tmp_path / "sync-so", pool=pool) as vendor:
        for id in ids:
            vendor.until(id, "COMPLETED")
        vendor.until(stuck, "PROCESSING")
        assert vendor.accepted(body, "k1") == ids[1]
        audit = vendor.audit()
        assert (audit["accepted"], audit["billed"], audit["replayed"]) == (4, 3, 1)


async def test_inputs_are_fetched_after_acceptance(vendor: Vendor, media: Media) -> None:
    """A plain GET without the key fetches the file at any later time."""
    requests: list[bytes] = []
    came, go_on = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        came.set()
        await go_on.wait()
        data = media.clip.read_bytes()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        audio = await asyncio.to_thread(vendor.upload, media.tone, "audio/wav")
        body = whole_clip(f"http://127.0.0.1:{port}/clip.mp4?signature=s", audio)
        id = await asyncio.to_thread(vendor.accepted, body)
        await asyncio.wait_for(came.wait(), 20)
        assert (await asyncio.to_thread(vendor.read, id))["status"] == "PENDING"
        go_on.set()
        await asyncio.to_thread(vendor.until, id, "COMPLETED")
    assert requests[0].startswith(b"GET /clip.mp4?signature=s HTTP/1.1")
    assert b"x-api-key" not in requests[0].lower()


def test_a_held_generation_ends_when_it_is_let_go(vendor: Vendor, links: Links) -> None:
    vendor.settings(hold=True)
    id = vendor.accepted(one_segment(links.video, links.audio))
    vendor.until(id, "PROCESSING")
    assert vendor.read(id, wait="true", timeout=1)["status"] == "PROCESSING"
    vendor.settings(hold=False)
    vendor.until(id, "COMPLETED")


def test_the_real_table_is_scaled(vendor: Vendor, links: Links) -> None:
    """20 s and 4 s for each second of video, times 0.02."""
    vendor.settings(seconds_per_job=None, time_scale=0.02)
    started = time.monotonic()
    vendor.until(vendor.accepted(whole_clip(links.video, links.audio)), "COMPLETED")
    assert time.monotonic() - started >= (20 + 4 * CLIP_SECONDS) * 0.02 - 0.01


def unexpected(*_: object, **__: object) -> None:
    raise KeyError("unexpected")


def test_an_unexpected_error_ends_the_generation(
    vendor: Vendor,
    links: Links,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sandbox.sync_so.work.lifecycle.process", unexpected)
    vendor.settings(media="process")
    failed = vendor.until(vendor.accepted(one_segment(links.video, links.audio)), "FAILED")
    assert failed["errorCode"] == "generation_unknown_error"
    assert vendor.audit()["frames_billed"] == {}
    (logged,) = (record for record in caplog.records if record.exc_info)
    assert failed["id"] in logged.getMessage()
    assert "KeyError: 'unexpected'" in caplog.text
