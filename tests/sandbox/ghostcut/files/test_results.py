"""The result file on the wire, and what was done to the picture and the sound."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.sandbox.control import wait_until
from tests.sandbox.ghostcut.vendor import (
    FPS,
    HEIGHT,
    SECONDS,
    WIDTH,
    Row,
    Vendor,
    clean_picture,
    mask,
    masks,
    pictures,
)
from tests.support.media.clips import write_clip

MEDIA_FAULTS = (
    "picture_unchanged",
    "audio_dropped",
    "wrong_duration",
    "watermark",
    "other_frame_rate",
    "half_size",
)
TEXT_ROWS, TEXT_COLUMNS = slice(72, 88), slice(28, 134)


@pytest.fixture
def result(vendor: Vendor) -> Row:
    return vendor.ended(vendor.submit())


def test_get_head_and_ranges(result: Row, plain: httpx.Client, sources: Path) -> None:
    link, whole = result["videoUrl"], (sources / "clip.mp4").read_bytes()
    got = plain.get(link)
    assert (got.status_code, got.content) == (200, whole)
    assert got.headers["Content-Type"] == "video/mp4"
    assert got.headers["Content-Length"] == str(len(whole))
    head = plain.head(link)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole))
    etag = got.headers["ETag"]
    assert head.headers["ETag"] == etag
    part = plain.get(link, headers={"Range": "bytes=100-299", "If-Match": etag})
    assert (part.status_code, part.content) == (206, whole[100:300])
    assert part.headers["Content-Range"] == f"bytes 100-299/{len(whole)}"
    rest = plain.get(link, headers={"Range": f"bytes={len(whole) - 7}-"})
    assert rest.content == whole[-7:]
    assert plain.get(link, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    assert plain.get(link, headers={"If-Match": '"another"'}).status_code == 412
    assert plain.get(link, headers={"Range": "bytes=0-1", "If-Range": '"x"'}).status_code == 200


def test_links_that_lead_nowhere(vendor: Vendor, result: Row) -> None:
    name = result["videoUrl"].rpartition("/")[2]
    for wrong in ("none.mp4", name.replace("-0-", "-1-"), "..%2Fghostcut.sqlite", "a/b.mp4"):
        assert vendor.http.get(f"/cdn/{wrong}").status_code == 404


def test_expiry(vendor: Vendor, result: Row, plain: httpx.Client) -> None:
    vendor.settings(result_hours=168.0, time_scale=1.0)
    assert plain.get(result["videoUrl"]).status_code == 200
    vendor.settings(time_scale=0.0)
    wait_until(lambda: plain.get(result["videoUrl"]).status_code == 404)


def test_download_faults(vendor: Vendor, result: Row, plain: httpx.Client) -> None:
    link = result["videoUrl"]
    whole = plain.get(link)
    vendor.faults(
        {"call": "download", "kind": "expired_link"},
        {"call": "download", "kind": "truncated"},
        {"call": "download", "kind": "truncated", "fraction": 0.9},
        {"call": "download", "kind": "short_file", "match": {"reference": "job"}},
        {"call": "download", "kind": "503_html"},
    )
    assert plain.head(link).status_code == 200
    assert plain.get(link).status_code == 404
    assert read_until_broken(plain, link) == (200, whole.content[: len(whole.content) // 2])
    status, part = read_until_broken(plain, link, Range="bytes=10-")
    assert (status, part) == (206, whole.content[10 : 10 + len(part)])
    assert len(part) == int((len(whole.content) - 10) * 0.9)
    short = plain.get(link, headers={"Range": "bytes=0-"})
    assert short.status_code == 200
    assert len(short.content) == int(short.headers["Content-Length"]) == len(whole.content) // 2
    assert plain.get(link).status_code == 503
    assert plain.get(link).content == whole.content


def read_until_broken(client: httpx.Client, link: str, **headers: str) -> tuple[int, bytes]:
    got = bytearray()
    with (
        client.stream("GET", link, headers=headers) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        deque(map(got.extend, answer.iter_raw()), maxlen=0)
    return answer.status_code, bytes(got)


def processed(vendor: Vendor, folder: Path, **fields: Any) -> Path:
    vendor.settings(media="process")
    row = vendor.ended(vendor.submit(**fields))
    assert row["processStatus"] == 1, row["errorDetail"]
    path = folder / "result.mp4"
    path.write_bytes(vendor.http.get(row["videoUrl"]).content)
    return path


def quality(frames: Sequence[Any], times: Sequence[float], rows: slice, columns: slice) -> float:
    """PSNR in dB against the clean pictures at these times."""
    errors = []
    for time in times:
        index = round(time * FPS)
        wanted = clean_picture(index)[rows, columns].astype(float)
        errors.append(np.mean((frames[index][rows, columns] - wanted) ** 2))
    return float(10 * np.log10(255**2 / np.mean(errors)))


def test_masks_act_only_inside_and_in_their_time(
    vendor: Vendor, tmp_path: Path, sources: Path
) -> None:
    half = [[0, 0.6], [0.5, 0.6], [0.5, 1], [0, 1]]
    path = processed(
        vendor, tmp_path, videoInpaintMasks=masks(mask(start=0.5), mask("keep", half, end=99999))
    )
    frames, before = pictures(path), pictures(sources / "clip.mp4")
    assert len(frames) == len(before) == round(SECONDS * FPS)
    early, late = [0.1, 0.3], [0.7, 1.0, 1.3]
    right, left = slice(84, 130), slice(28, 76)
    assert quality(frames, late, TEXT_ROWS, right) > quality(before, late, TEXT_ROWS, right) + 10
    assert quality(frames, late, TEXT_ROWS, left) < 15
    assert quality(frames, early, TEXT_ROWS, right) < 15
    assert quality(frames, late, slice(0, 64), slice(0, WIDTH)) > 32


def test_tier_never_scales_up(vendor: Vendor, tmp_path: Path) -> None:
    frames = pictures(processed(vendor, tmp_path, resolution="480p"))
    assert frames[0].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("side", "size", "shown"),
    [
        ("smaller", (1280, 720), (854, 480)),
        ("smaller", (720, 1280), (480, 854)),
        ("height", (720, 1280), (270, 480)),
    ],
)
def test_tier_scales_down(
    vendor: Vendor,
    tmp_path: Path,
    sources: Path,
    source_url: str,
    side: str,
    size: tuple[int, int],
    shown: tuple[int, int],
) -> None:
    write_clip(sources / "flat.mp4", width=size[0], height=size[1], seconds=0.1, sound=False)
    vendor.settings(resolution_side=side)
    path = processed(vendor, tmp_path, resolution="480p", urls=[f"{source_url}/flat.mp4"])
    height, width, _ = pictures(path)[0].shape
    assert abs(width - shown[0]) <= 2
    assert abs(height - shown[1]) <= 2


def test_range_and_sound(vendor: Vendor, tmp_path: Path) -> None:
    options = '{"range":[0.5,1.5],"write_options":{"crf":20}}'
    path = processed(vendor, tmp_path, extraOptions=options)
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert abs(container.duration / av.time_base - 1.0) < 0.15
        assert len(container.streams.audio) == 1


@pytest.mark.parametrize("kind", MEDIA_FAULTS)
def test_media_faults(vendor: Vendor, tmp_path: Path, sources: Path, kind: str) -> None:
    """The effect of each of them on the file is tested with the media."""
    vendor.faults({"call": "job", "kind": kind})
    path = processed(vendor, tmp_path)
    frames, before = pictures(path), pictures(sources / "clip.mp4")
    with av.open(str(path)) as container:
        sounds = len(container.streams.audio)
        width = container.streams.video[0].width
    assert sounds == (0 if kind == "audio_dropped" else 1)
    assert width == (WIDTH // 2 if kind == "half_size" else WIDTH)
    shares = {"wrong_duration": 0.75, "other_frame_rate": 0.5}
    assert len(frames) / len(before) == pytest.approx(shares.get(kind, 1.0), abs=0.03)
    if kind not in ("other_frame_rate", "half_size"):
        unchanged = quality(frames, [0.2], TEXT_ROWS, TEXT_COLUMNS) < 15
        assert unchanged == (kind == "picture_unchanged")
