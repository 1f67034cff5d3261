"""Requests and files that cannot become a job: refused with every reason, and nothing is paid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import PrefectHTTPStatusError

from sandbox.media.lip_sync.lip_sync import SegmentPlan, lip_sync
from sandbox.media.sample.make_sample import Sample
from tests.flows.test_editor_jobs import area
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs
from tests.support.stack import wait_until

pytestmark = pytest.mark.timeout(1000)


@dataclass(frozen=True)
class Case:
    """One hopeless job.

    Attributes:
        changes: of the parameters of a good job.
        says: parts of the final message, all of them.
        kind: of the error.
        uploads: may files of it be in the bucket?
    """

    changes: dict[str, Any]
    says: list[str]
    kind: str = "RequestRefused"
    uploads: bool = False
    deployment: str = "pro-video/local"


@dataclass
class Refused:
    jobs: Jobs
    cases: dict[str, Case] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


NAMES = [
    "many problems",
    "protection in a tier without it",
    "only half a crop",
    "text as video",
    "picture as audio",
    "segment past the end",
    "all files",
    "rules and files",
    "no such object",
    "no such files",
    "removal without areas",
    "dearer than its limit",
    "removal dearer than its limit",
]


def cases(jobs: Jobs, tiny: Sample, folder: Path) -> dict[str, Case]:
    text = folder / "notes.mp4"
    text.write_text("This is no video.\n" * 500, encoding="utf-8")
    return {
        **cases_of_rules(tiny),
        **cases_of_unusable_files(tiny, text),
        **cases_of_missing_files(jobs, text),
    }


def cases_of_rules(tiny: Sample) -> dict[str, Case]:
    line = str(tiny.line_1)
    good = area("erase", tiny.watermark_region, 0.0, None)
    protect = area("protect", tiny.protected_region, 0.0, None)
    return {
        "many problems": Case(
            {
                "segments": [
                    {"start": 1.0, "end": 0.5, "audio": line},
                    {"start": 1.2, "end": 1.8, "audio": "ftp://example.com/line.wav"},
                ],
                "annotation_areas": [
                    area("erase", (0.5, 0.5, 1.5, 0.9), 0.0, None),
                    area("erase", tiny.watermark_region, 1.0, 0.5),
                ],
                "temperature": 7.0,
            },
            [
                "Request refused: ",
                "segments[0].end",
                "segments[1].audio",
                "annotation_areas[0].region",
                "annotation_areas[1].end",
                "temperature",
            ],
        ),
        "protection in a tier without it": Case(
            {"annotation_areas": [good, protect], "quality": "lite"},
            ["Request refused: ", "annotation_areas[0]", "annotation_areas[1]", "basic"],
        ),
        "only half a crop": Case(
            {"segments": [{"start": 0.2, "end": 0.8, "audio": line, "audio_start": 0.1}]},
            ["Request refused: segments[0].audio_end"],
        ),
        "dearer than its limit": Case(
            {"max_cost_usd": 0.01},
            ["Request refused: max_cost_usd", "0.01 USD", "Sync.so", "Nothing was paid"],
        ),
        "removal dearer than its limit": Case(
            {
                "video": str(tiny.clip),
                "annotation_areas": [good],
                "max_cost_usd": 0.01,
            },
            ["Request refused: max_cost_usd", "0.01 USD", "GhostCut 0.03", "Nothing was paid"],
            deployment="text-inpainting/local",
        ),
        "removal without areas": Case(
            {"video": str(tiny.clip), "annotation_areas": []},
            ["Request refused: annotation_areas", "at least one area"],
            deployment="text-inpainting/local",
        ),
    }


def cases_of_unusable_files(tiny: Sample, text: Path) -> dict[str, Case]:
    line = str(tiny.line_1)
    mute = text.with_name("mute.mp4")
    plan = SegmentPlan(0.2, 0.8, tiny.line_1, None, None, "cut_off")
    lip_sync(tiny.clip, mute, [plan], fault="audio_dropped")
    return {
        "text as video": Case(
            {"video": str(text)},
            [f"Request refused: video: {text} is not a video"],
            uploads=True,
        ),
        "picture as audio": Case(
            {"segments": [{"start": 0.2, "end": 0.8, "audio": str(mute)}]},
            ["segments[0].audio", "sound"],
            uploads=True,
        ),
        "segment past the end": Case(
            {"segments": [{"start": 1.5, "end": 9.0, "audio": line}]},
            ["Request refused: segments[0].end"],
            uploads=True,
        ),
        "all files": Case(
            {
                "video": str(text),
                "segments": [
                    {"start": 0.2, "end": 0.8, "audio": str(mute)},
                    {"start": 1.0, "end": 1.5, "audio": str(text)},
                ],
            },
            [
                f"Request refused: video: {text} is not",
                "segments[0].audio: has no sound",
                f"segments[1].audio: {text} is not",
            ],
            uploads=True,
        ),
    }


def cases_of_missing_files(jobs: Jobs, text: Path) -> dict[str, Case]:
    gone = f"s3://{jobs.stack.bucket}/nowhere/clip.mp4"
    none = text.with_name("none")
    return {
        "rules and files": Case(
            {
                "video": gone,
                "segments": [{"start": 1.0, "end": 0.5, "audio": str(text)}],
                "temperature": 7.0,
            },
            [
                "Request refused: segments[0].end: is not after the start",
                "temperature",
                f"video: There is no object {gone}",
                f"segments[0].audio: {text} is not",
            ],
        ),
        "no such object": Case(
            {"video": gone},
            [f"Upload failed: video: There is no object {gone}"],
            kind="SourceRefused",
            uploads=True,
        ),
        "no such files": Case(
            {
                "video": f"{none}.mp4",
                "segments": [{"start": 0.2, "end": 0.8, "audio": f"{none}.wav"}],
            },
            [
                f"Upload failed: video: {none}.mp4",
                f"segments[0].audio: {none}.wav",
            ],
            kind="SourceRefused",
        ),
    }


@background_job
def hopeless_jobs(resources: Resources) -> Refused:
    """All the hopeless jobs, ended."""
    jobs, tiny_parameters = resources.jobs, resources.tiny_parameters
    folder = resources.folder / "hopeless"
    folder.mkdir()
    found = Refused(jobs, cases(jobs, resources.tiny, folder))
    assert sorted(found.cases) == sorted(NAMES)
    for name, case in found.cases.items():
        whole = tiny_parameters if case.deployment == "pro-video/local" else {}
        found.ids[name] = jobs.prepare({**whole, **case.changes}, case.deployment)
    jobs.finish([], prepared=list(found.ids.values()))
    return found


@pytest.fixture(scope="module")
def refused(background_jobs: BackgroundJobs) -> Refused:
    """All the hopeless jobs."""
    return background_jobs.result(hopeless_jobs)


@pytest.mark.parametrize("name", NAMES)
def test_the_message_gives_every_reason(refused: Refused, name: str) -> None:
    case, job_id = refused.cases[name], refused.ids[name]
    state = refused.jobs.state(job_id)
    message = state.message or ""
    assert state.name == "Failed"
    for part in case.says:
        assert part in message
    result = refused.jobs.result(job_id)
    assert result.error is not None
    assert result.error.kind == case.kind
    assert result.error.stage == "uploading"
    assert (result.output_key, result.fallback_key) == (None, None)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_paid_or_left_over(refused: Refused, name: str) -> None:
    case, job_id = refused.cases[name], refused.ids[name]
    assert refused.jobs.paid(job_id) == {"sync_so": (0, 0), "ghostcut": (0, 0)}
    left = set(refused.jobs.objects(job_id))
    assert "job.json" in left
    assert case.uploads or left == {"job.json"}


def test_a_parameter_of_the_wrong_type_is_refused_before_there_is_a_job(
    resources: Resources,
) -> None:
    with pytest.raises(PrefectHTTPStatusError) as raised:
        resources.jobs.prepare({**resources.tiny_parameters, "segments": "all of it"})
    assert raised.value.response.status_code in (409, 422)
    assert "segments" in raised.value.response.text


@background_job
def job_with_an_unknown_parameter(resources: Resources) -> None:
    jobs = resources.jobs
    job_id = jobs.start({**resources.tiny_parameters, "voice": "deep"})
    wait_until(lambda: jobs.state(job_id).is_final(), 60, "the job ends")
    assert "voice" in (jobs.state(job_id).message or "")
    assert jobs.paid(job_id) == {"sync_so": (0, 0), "ghostcut": (0, 0)}


def test_a_job_with_an_unknown_parameter_does_not_hang(background_jobs: BackgroundJobs) -> None:
    background_jobs.result(job_with_an_unknown_parameter)
