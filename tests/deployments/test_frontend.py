"""The editor's frontend against the gateway of a whole stack: from the form to the finished video.

The request is copied from the documents.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.base.problems import Problem
from gateway.jobs.request_models import JobBody
from pro_video.core.job_warning import JobWarning
from sandbox.media.measure import correlation_at, psnr
from sandbox.media.sample.make_sample import Sample, make_sample
from tests.deployments.frontend import (
    CHROMIUM,
    PAGE,
    Part,
    browser_form,
    look_at,
)
from tests.support.source_server import SourceFile, serving
from tests.support.stack import LocalStack, wait_until

pytestmark = pytest.mark.timeout(300)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/http-api.md"
FORM = "/api/v1/video-editors/pro-sync-process"
ADDRESS = "http://127.0.0.1:4204"
JOB_SECONDS = 200.0
DONE = "Pro video processing completed (lip-sync + text inpainting)"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("frontend"), width=320, height=180, seconds=4.0)


@pytest.fixture(scope="module")
def base_url(stack: LocalStack) -> str:
    return str(stack.description["gateway"]["base_url"])


@pytest.fixture
def client(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, timeout=30, trust_env=False) as client:
        yield client


def request_of(sample: Sample) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two segments that share one audio, and one erasure area from the time 0 on."""
    (first, first_end), (second, _) = sample.segments
    half = round((first_end - first) / 2, 3)
    segments = [
        {"startTime": first, "endTime": first_end, "audioInput": {"refId": "line"}, "label": "A"},
        {
            "startTime": second,
            "endTime": second + half,
            "audioInput": {"refId": "line", "startTime": 0, "endTime": half},
        },
    ]
    x0, y0, x1, y1 = sample.watermark_region
    region = {"x": x0, "y": y0, "width": round(x1 - x0, 4), "height": round(y1 - y0, 4)}
    return segments, [
        {"type": "erasure", "startTime": 0, "endTime": sample.seconds, "region": region}
    ]


def check_result(view: dict[str, Any], sample: Sample, folder: Path) -> None:
    """The finished video at the link has the new sound where it belongs, and no watermark."""
    assert (view["status"], view["progress"], view["message"]) == ("completed", 100, DONE)
    answer = httpx.get(view["output_url"], trust_env=False, timeout=30)
    assert answer.status_code == 200
    result = folder / "result.mp4"
    result.write_bytes(answer.content)
    for segment in view["segments_data"]:
        start, end = segment["startTime"], segment["endTime"]
        assert correlation_at(result, start, end, sample.line_1) > 0.9
    times = [0.1, 2.0, 3.8]
    region = sample.watermark_region
    assert psnr(result, sample.clean, times, region) > psnr(
        sample.clip, sample.clean, times, region
    )
    assert view["metadata"]["segments_count"] == view["segments_count"] == 2
    assert list(view["metadata"]["audio_url_mapping"]) == ["audio-1"]


def test_a_form_as_browsers_write_it(client: httpx.Client, sample: Sample, tmp_path: Path) -> None:
    segments, effects = request_of(sample)
    content_type, body = browser_form(
        [
            Part("file", sample.clip.read_bytes(), 'Spot "neu" 名.mp4', "video/mp4"),
            Part("audio_files", sample.line_1.read_bytes(), "line-1.wav", "audio/wav"),
            Part("segments_data", json.dumps(segments).encode()),
            Part("effects", json.dumps(effects).encode()),
            Part("display_name", "Frühling".encode()),
        ]
    )
    answer = client.post(FORM, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    created = answer.json()
    assert (created["status"], created["segments_count"]) == ("processing", 2)
    assert created["sync_generation_id"] is None
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        seen.append(client.get(created["status_url"]).raise_for_status().json())
        return bool(seen[-1]["status"] != "processing")

    wait_until(ended, JOB_SECONDS, "the job has ended")
    view = seen[-1]
    check_result(view, sample, tmp_path)
    assert view["job_id"] == created["job_id"]
    assert (view["display_name"], view["segments_data"]) == ("Frühling", segments)
    percents = [one["progress"] for one in seen]
    assert percents == sorted(percents)
    # The providers' ids show as soon as the providers have named them.
    early = {one["sync_generation_id"] for one in seen[:-1]} - {None}
    assert early == {view["sync_generation_id"]}
    tasks = {one["metadata"].get("ghostcut_task_id") for one in seen[:-1]} - {None}
    assert tasks == {view["metadata"]["ghostcut_task_id"]}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_a_page_of_another_origin(
    stack: LocalStack, base_url: str, sample: Sample, tmp_path: Path
) -> None:
    segments, effects = request_of(sample)
    video = {"path": "/clip.mp4", "name": "clip.mp4", "type": "video/mp4"}
    audio = {"path": "/line.wav", "name": 'line "1".wav', "type": "audio/wav"}
    given = {"video": video, "audios": [audio], "segments": segments, "effects": effects}
    page = PAGE.replace("GIVEN", json.dumps(given)).replace("SNIPPET", snippet("js", base_url))
    with serving(port=httpx.URL(stack.page_origin).port or 0) as site:
        site.add("/", SourceFile(page.encode(), content_type="text/html"))
        site.add("/clip.mp4", SourceFile(sample.clip.read_bytes()))
        site.add("/line.wav", SourceFile(sample.line_1.read_bytes(), content_type="audio/wav"))
        found = look_at(site, tmp_path / "profile", JOB_SECONDS)
    assert "error" not in found, found
    check_result(found["view"], sample, tmp_path)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_command_of_the_document(
    client: httpx.Client, base_url: str, sample: Sample, tmp_path: Path
) -> None:
    command = next(block for block in blocks("bash", base_url) if shlex.split(block)[0] == "curl")
    (tmp_path / "clip.mp4").write_bytes(sample.clip.read_bytes())
    (tmp_path / "line-1.wav").write_bytes(sample.line_1.read_bytes())
    words = ["curl", "--silent", "--noproxy", "*", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    created = json.loads(done.stdout)
    assert (created["status"], created["segments_count"]) == ("processing", 1), done.stdout
    assert client.post(created["cancel_url"]).status_code == 202


def test_the_json_of_the_document() -> None:
    body, warning, problem = blocks("json", ADDRESS)
    JobBody.model_validate_json(body)
    assert JobWarning.model_validate_json(warning).region is not None
    assert Problem.model_validate_json(problem).status == 422


def blocks(kind: str, base_url: str) -> list[str]:
    """The document's blocks of a kind, with the address of the running gateway."""
    text = DOCUMENT.read_text(encoding="utf-8").replace(ADDRESS, base_url)
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.M | re.S)


def snippet(kind: str, base_url: str) -> str:
    """The first block of a kind."""
    return blocks(kind, base_url)[0]
