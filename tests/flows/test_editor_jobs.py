"""The three cases of the system this one replaces, measured against the truth, and text removal
alone. All jobs run side by side through their deployments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from pro_video.records import JobResult
from sandbox.media.measure import (
    Region,
    audio_samples,
    best_lag,
    correlation_at,
    psnr,
)
from sandbox.media.sample.make_sample import Sample, describe
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Followed, Jobs

pytestmark = pytest.mark.timeout(1000)

UPLOADING = ("Uploading", "Uploading files...")
LIP_SYNC = ("Lip-sync processing", "Lip-sync processing...")
LIP_SYNCED = ("Lip-sync completed", "Lip-sync completed")
STARTING = ("Starting text inpainting", "Starting text inpainting...")
INPAINTING = ("Text inpainting", "Text inpainting in progress...")
LIP_SYNC_ONLY = "Pro video processing completed (lip-sync only)"
BOTH = "Pro video processing completed (lip-sync + text inpainting)"

# Decibels: two encodings of the same picture reach this, a picture with another text does not.
SAME = 38.0
RATE = 16_000


def area(kind: str, region: Region, start: float, end: float | None) -> dict[str, Any]:
    """An annotation area as a flow parameter."""
    x0, y0, x1, y1 = region
    place = {"x": x0, "y": y0, "width": round(x1 - x0, 4), "height": round(y1 - y0, 4)}
    return {"kind": kind, "region": place, "start": start, "end": end}


@dataclass
class Run:
    """One finished job and what it left, as files on disk."""

    job_id: str
    result: JobResult
    seen: Followed
    output: Path
    lip_synced: Path | None


@dataclass
class World:
    """All finished jobs of this module by name."""

    runs: dict[str, Run]
    jobs: Jobs
    watched: str

    def __getitem__(self, name: str) -> Run:
        return self.runs[name]


def fetch(jobs: Jobs, job_id: str, seen: Followed, folder: Path) -> Run:
    state = jobs.state(job_id)
    assert state.is_completed(), state
    result = jobs.result(job_id)
    assert result.output_key is not None
    output = folder / f"{job_id}.mp4"
    output.write_bytes(jobs.object(result.output_key))
    lip_synced = None
    if "lip-sync" in result.stages:
        lip_synced = folder / f"{job_id}-lip.mp4"
        lip_synced.write_bytes(jobs.object(result.stages["lip-sync"].stored.key))
    return Run(job_id, result, seen, output, lip_synced)


@background_job
def good_jobs(resources: Resources) -> World:
    """Start all jobs, wait for them together, fetch what they made."""
    jobs, sample = resources.jobs, resources.sample
    described = describe(sample)
    plain = {"video": described["video"], "segments": described["segments"]}
    twice = {**plain, "temperature": 0.9}
    stored = jobs.put("existing/clip.mp4", sample.clip.read_bytes())
    removal = area("erase_text", sample.subtitle_region, 0.2, 3.6)

    watching = subprocess.Popen(
        [
            *(sys.executable, "-m", "prefect", "deployment", "run", "pro-video/local"),
            *("--params", json.dumps({**twice, "display_name": "Two lines"}), "--watch"),
        ],
        env={**os.environ, "PREFECT_API_URL": jobs.stack.api_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with watching:
        windows = [
            area("erase", sample.watermark_region, 0.5, 2.0),
            area("erase", sample.subtitle_region, 2.2, 3.6),
            area("protect", sample.protected_region, 2.2, 2.8),
        ]
        one_area = [area("erase", sample.watermark_region, 0.0, None)]
        again = run_deployment("pro-video/local", parameters=twice, timeout=0, as_subflow=False)
        assert isinstance(again, FlowRun)
        started = {
            "again": str(again.id),
            "one area": jobs.prepare({**plain, "annotation_areas": one_area}),
            "three areas": jobs.prepare(
                {**plain, "annotation_areas": described["annotation_areas"], "display_name": "All"}
            ),
            "windows": jobs.prepare({**plain, "annotation_areas": windows}),
            "removal": jobs.prepare(
                {"video": stored, "annotation_areas": [removal]}, "text-inpainting/local"
            ),
        }
        first, *others = started.values()
        seen = jobs.finish([first], prepared=others, follow=started.values())
        watched = watching.communicate(timeout=120)[0]
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", watched)
    assert found, watched
    started["lip-sync only"] = found[0]
    seen |= jobs.finish([found[0]], follow=[found[0]])

    folder = resources.folder / "results"
    folder.mkdir()
    runs = {name: fetch(jobs, each, seen[each], folder) for name, each in started.items()}
    return World(runs, jobs, watched)


@pytest.fixture(scope="module")
def world(background_jobs: BackgroundJobs) -> World:
    """The jobs and what they made."""
    return background_jobs.result(good_jobs)


def walk(jobs: Jobs, run_id: str) -> list[tuple[str, str | None]]:
    """Names and messages of the states from the first stage on."""
    states = [(state.name or "", state.message) for state in jobs.history(run_id)]
    return states[[name for name, _ in states].index("Running") + 1 :]


ALONE = [UPLOADING, LIP_SYNC, LIP_SYNCED, ("Completed", LIP_SYNC_ONLY)]
CHAINED = [UPLOADING, LIP_SYNC, LIP_SYNCED, STARTING, INPAINTING, ("Completed", BOTH)]
REMOVED = ("Completed", "Text inpainting completed")
WALKS = dict.fromkeys(("lip-sync only", "again"), ALONE)
WALKS |= dict.fromkeys(("one area", "three areas", "windows"), CHAINED)
WALKS["removal"] = [UPLOADING, STARTING, INPAINTING, REMOVED]


@pytest.mark.parametrize("name", WALKS)
def test_a_job_walks_through_its_stages(world: World, name: str) -> None:
    assert walk(world.jobs, world[name].job_id) == WALKS[name]


def test_the_command_line_shows_the_walk(world: World) -> None:
    assert "pro-video/local" in world.watched
    assert "Completed" in world.watched


def test_a_subflow_shows_the_second_half(world: World) -> None:
    [subflow] = world.jobs.subflows(world["three areas"].job_id)
    assert subflow.flow_id is not None
    assert walk(world.jobs, str(subflow.id)) == [INPAINTING, REMOVED]
    assert world.jobs.subflows(world["lip-sync only"].job_id) == []


@pytest.mark.parametrize("name", ["again", "one area", "three areas", "windows", "removal"])
def test_progress_only_rises_and_ends_at_100(world: World, name: str) -> None:
    seen = world[name].seen
    assert len(seen.artifacts) == 1
    assert seen.percents == sorted(seen.percents)
    assert seen.percents[-1] == 100
    if name != "again":
        # A job without text removal may be over before it is looked at for the first time.
        assert len(set(seen.percents)) >= 3, "nothing was seen of the job's progress"


@pytest.mark.parametrize("name", ["lip-sync only", "again", "one area", "three areas", "windows"])
def test_one_payment_to_each_provider(world: World, name: str) -> None:
    inpainted = (0, 0) if name in ("lip-sync only", "again") else (1, 1)
    paid = world.jobs.paid(world[name].job_id)
    assert paid == {"sync_so": (1, 1), "ghostcut": inpainted}


def test_the_same_job_twice_is_two_jobs(world: World) -> None:
    ids = {
        entry["id"]
        for name in ("lip-sync only", "again")
        for entry in world.jobs.audit("sync_so", world[name].job_id)
    }
    assert len(ids) == 2


def test_a_retry_of_a_completed_job_pays_nothing(world: World) -> None:
    job_id = world["again"].job_id
    before = world.jobs.objects(job_id)
    world.jobs.release(job_id)
    world.jobs.finish([job_id])
    state = world.jobs.state(job_id)
    assert (state.name, state.message) == ("Completed", LIP_SYNC_ONLY)
    assert world.jobs.paid(job_id)["sync_so"] == (1, 1)
    results = {name: size for name, size in before.items() if name.endswith(".mp4")}
    assert results.items() <= world.jobs.objects(job_id).items()


def test_the_result_tells_the_whole_job(world: World) -> None:
    run, bucket = world["three areas"], world.jobs.stack.bucket
    result, folder = run.result, f"jobs/{run.job_id}/"
    assert (result.job_id, result.status, result.message) == (run.job_id, "completed", BOTH)
    assert result.display_name == "All"
    assert result.output_key == f"{folder}pro_final_result_{run.job_id}.mp4"
    assert result.preview_key == f"{folder}preview.jpg"
    assert (result.fallback_key, result.fallback_url, result.error) == (None, None, None)
    generation = world.jobs.audit("sync_so", run.job_id)[0]["id"]
    work = world.jobs.audit("ghostcut", run.job_id)[0]["id"]
    assert result.metadata.model_dump(exclude={"sync_response"}) == {
        "video_s3_url": f"s3://{bucket}/{folder}video.mp4",
        "audio_url_mapping": {
            "audio-1": f"s3://{bucket}/{folder}audio-1.wav",
            "audio-2": f"s3://{bucket}/{folder}audio-2.wav",
        },
        "segments_count": 2,
        "sync_generation_id": generation,
        "ghostcut_task_id": work,
        "ghostcut_video_url": f"s3://{bucket}/{result.output_key}",
    }
    assert result.metadata.sync_response is not None
    assert result.metadata.sync_response["id"] == generation
    assert set(result.stages) == {"lip-sync", "inpainting"}
    assert {"uploading", "lip-sync", "inpainting", "total"} <= set(result.timings)
    assert 0 < max(result.timings.values()) == result.timings["total"]
    assert result.estimated_cost_usd is not None
    assert result.estimated_cost_usd > 0


@pytest.mark.parametrize("name", ["lip-sync only", "three areas", "removal"])
def test_the_signed_link_gives_the_stored_object(world: World, name: str) -> None:
    run = world[name]
    assert run.result.output_url is not None
    assert run.result.output_url_expires_at is not None
    assert run.result.output_url_expires_at > run.result.completed_at
    answer = httpx.get(run.result.output_url, trust_env=False)
    assert answer.status_code == 200
    assert answer.content == run.output.read_bytes()
    assert answer.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize("name", ["lip-sync only", "three areas", "windows", "removal"])
def test_the_report_is_the_result_without_links(world: World, name: str) -> None:
    run = world[name]
    report = world.jobs.report(run.job_id)
    links = {"output_url": None, "output_url_expires_at": None, "fallback_url": None}
    assert report == json.loads(run.result.model_copy(update=links).model_dump_json())
    assert not re.search(r"(?i)x-amz-|signature=|https?://", json.dumps(report))


@pytest.mark.parametrize(
    ("name", "lip_synced", "final"),
    [("lip-sync only", True, False), ("one area", True, True), ("removal", False, True)],
)
def test_the_folder_holds_what_the_design_names(
    world: World, name: str, lip_synced: bool, final: bool
) -> None:
    job_id = world[name].job_id
    expected = {"video.mp4", "preview.jpg", "job.json"}
    if lip_synced:
        expected |= {"audio-1.wav", "audio-2.wav", f"pro_sync_result_{job_id}.mp4"}
    if final:
        expected |= {f"pro_final_result_{job_id}.mp4"}
    assert set(world.jobs.objects(job_id)) == expected
    preview = world.jobs.object(f"jobs/{job_id}/preview.jpg")
    assert preview.startswith(b"\xff\xd8\xff")


def test_the_log_has_the_known_lines(world: World) -> None:
    run, bucket = world["one area"], world.jobs.stack.bucket
    [subflow] = world.jobs.subflows(run.job_id)
    log = world.jobs.log(run.job_id, str(subflow.id))
    folder = f"s3://{bucket}/jobs/{run.job_id}"
    job, work = f"Job {run.job_id}", run.result.metadata.ghostcut_task_id
    for line in (
        f"Created Pro job {run.job_id} with 2 segments and 1 annotation areas",
        f"{job}: Sync.so result uploaded to S3: {folder}/pro_sync_result_{run.job_id}.mp4",
        f"{job}: Found 1 annotation areas. Starting GhostCut text inpainting...",
        f"{job}: Starting GhostCut processing with 1 annotation areas",
        f"GhostCut task created: {work}",
        f"{job}: Successfully completed with chained processing. "
        f"Final result: {folder}/pro_final_result_{run.job_id}.mp4",
    ):
        assert line in log
    assert any(
        line.startswith(f"{job}: GhostCut completed. Downloading result from ") for line in log
    )


def test_no_secret_in_log_states_or_artifacts(world: World) -> None:
    jobs, run = world.jobs, world["three areas"]
    [subflow] = jobs.subflows(run.job_id)
    told = "\n".join(
        [
            *jobs.log(run.job_id, str(subflow.id)),
            *(f"{state.name} {state.message}" for state in jobs.history(run.job_id)),
            json.dumps(jobs.artifacts("pro-video-report", run.job_id)),
        ]
    )
    description = jobs.stack.description
    secrets = [
        description["s3"]["secret_key"],
        description["sync_so"]["api_key"],
        description["ghostcut"]["app_secret"],
    ]
    assert not [secret for secret in secrets if secret in told]
    assert not re.search(r"(?i)x-amz-signature|signature=[0-9a-f]", told)


def test_the_report_artifact_names_result_and_cost(world: World) -> None:
    run = world["three areas"]
    [artifact] = world.jobs.artifacts("pro-video-report", run.job_id)
    text = artifact["data"]
    assert run.result.output_key in text
    assert BOTH in text
    assert "USD" in text


# Sound


@pytest.mark.parametrize("name", ["lip-sync only", "three areas", "windows"])
def test_sound_inside_a_segment_is_the_replacement(world: World, sample: Sample, name: str) -> None:
    output = world[name].output
    for (start, end), line in zip(sample.segments, (sample.line_1, sample.line_2), strict=True):
        assert correlation_at(output, start, end, line) > 0.99
        assert abs(correlation_at(output, start, end, sample.clip, reference_start=start)) < 0.2
        heard = audio_samples(output)[round(start * RATE) : round(end * RATE)]
        lag, score = best_lag(heard, audio_samples(line), 80)
        assert (lag, score > 0.99) == (0, True)


@pytest.mark.parametrize("name", ["lip-sync only", "three areas", "windows"])
def test_sound_outside_of_the_segments_is_the_original(
    world: World, sample: Sample, name: str
) -> None:
    (first, second), (third, fourth) = sample.segments
    margin = 0.02
    for start, end in ((0.0, first), (second, third), (fourth, sample.seconds)):
        start, end = start + margin, end - margin
        found = correlation_at(world[name].output, start, end, sample.clip, reference_start=start)
        assert found > 0.99, (start, end)


# Picture

WINDOWS = {"first": (0.6, 1.0, 1.4), "second": (2.4, 2.8, 3.2)}
TEXT_TIMES = WINDOWS["first"] + WINDOWS["second"]


def test_lip_sync_changes_pictures_inside_the_segments_only(world: World, sample: Sample) -> None:
    output = world["lip-sync only"].output
    outside = (0.2, 2.0, 3.8)
    upper = (0.0, 0.0, 1.0, 0.6)
    assert psnr(output, sample.clip, outside) > SAME
    assert psnr(output, sample.clip, TEXT_TIMES, upper) < 32


@pytest.mark.parametrize("name", ["three areas", "removal"])
def test_the_text_is_gone(world: World, sample: Sample, name: str) -> None:
    without = [sample.protected_region]
    region = sample.subtitle_region
    before = psnr(sample.clip, sample.clean, TEXT_TIMES, region, without)
    after = psnr(world[name].output, sample.clean, TEXT_TIMES, region, without)
    assert before < 22
    assert after > 30
    assert after > before + 12


@pytest.mark.parametrize("name", ["one area", "three areas"])
def test_the_watermark_is_gone(world: World, sample: Sample, name: str) -> None:
    region = sample.watermark_region
    times = (0.2, 2.0, 3.8)
    run = world[name]
    assert psnr(run.output, sample.clip, times, region) < 27
    before = psnr(sample.clip, sample.clean, times, region)
    assert psnr(run.output, sample.clean, times, region) > before + 1.5


@pytest.mark.parametrize("name", ["three areas", "removal"])
def test_the_rest_of_the_picture_keeps_its_quality(world: World, sample: Sample, name: str) -> None:
    run = world[name]
    given = run.lip_synced or sample.clip
    areas = [sample.subtitle_region]
    if name == "three areas":
        areas.append(sample.watermark_region)
    whole = (0.0, 0.0, 1.0, 1.0)
    assert psnr(run.output, given, TEXT_TIMES, whole, [*areas, sample.protected_region]) > SAME


def test_the_protected_area_keeps_its_quality(world: World, sample: Sample) -> None:
    run = world["three areas"]
    assert run.lip_synced is not None
    assert psnr(run.output, run.lip_synced, TEXT_TIMES, sample.protected_region) > SAME
    assert psnr(run.output, sample.clean, TEXT_TIMES, sample.protected_region) > 36


def test_each_area_acts_in_its_own_window_only(world: World, sample: Sample) -> None:
    run = world["windows"]
    assert run.lip_synced is not None
    after, before = run.output, run.lip_synced
    mark, text = sample.watermark_region, sample.subtitle_region
    caption = sample.protected_region
    # The watermark goes from 0.5 to 2.0 s.
    assert psnr(after, before, (0.2, 2.4, 3.2, 3.8), mark) > SAME
    assert psnr(after, before, (0.7, 1.2, 1.8), mark) < 27
    # The text goes from 2.2 to 3.6 s: the first line stays, the second does not.
    assert psnr(after, before, WINDOWS["first"], text) > SAME
    assert psnr(after, before, WINDOWS["second"], text, [caption]) < 25
    # The caption reaches into the text's area, and is protected from 2.2 to 2.8 s.
    shared = (text[0], max(text[1], caption[1]), caption[2], caption[3])
    assert psnr(after, before, (2.3, 2.5, 2.7), shared) > SAME
    assert psnr(after, before, (2.9, 3.1, 3.3, 3.5), shared) < 30


def test_times_and_sizes_are_those_of_the_source(world: World) -> None:
    for name in ("lip-sync only", "three areas"):
        stage = world[name].result.stages["lip-sync"]
        assert stage.attempt == 1
        assert stage.stored.size == len(world.jobs.object(stage.stored.key))
        assert UUID(stage.provider_job_id)
