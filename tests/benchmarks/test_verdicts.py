"""A few results of which the truth is known; `benchmarks.verdicts` has many more."""

from __future__ import annotations

import pytest

from benchmarks import corpus
from benchmarks.verdicts import (
    OF_HDR,
    SPOILT,
    SPOILT_LIP_SYNC,
    Case,
    Change,
    Judge,
)
from pro_video.verdict import Verdict


@pytest.fixture(scope="module")
def clip() -> corpus.Clip:
    return made("film")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(tmp_path_factory.mktemp("verdicts"))


def made(name: str, **file: object) -> corpus.Clip:
    draw = corpus.filmed(320, 180, 3, light=0.9)
    times = [number / 15 for number in range(48)]
    pictures = [draw(time) for time in times]
    return corpus.Clip(name, pictures, times, corpus.speech(3.2, 4), corpus.File(**file))  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", ["lip-sync", "inpainting"])
def test_a_correct_result_is_good(judge: Judge, clip: corpus.Clip, stage: str) -> None:
    judgement = judge(Case(clip, stage, "encoded again", lambda clip: clip))
    assert judgement.warnings == ()
    assert judgement.verdict is Verdict.GOOD
    assert judgement.info is not None


@pytest.mark.parametrize("kind", ["tone-mapped", "still HDR"])
def test_hdr_may_become_sdr(judge: Judge, kind: str) -> None:
    hdr = made("hdr", codec="libx265", pix_fmt="yuv420p10le", transfer="pq", crf=18)
    judgement = judge(Case(hdr, "lip-sync", kind, OF_HDR[kind]))
    assert judgement.warnings == ()


def test_what_players_mirror_is_compared_as_they_show_it(judge: Judge) -> None:
    front = made("front camera", matrix="hflip")
    judgement = judge(Case(front, "inpainting", "encoded again", lambda clip: clip))
    assert judgement.warnings == ()


FAULTS: dict[str, tuple[Change, str, str]] = {
    "watermark": (SPOILT["watermark"][0], "lip-sync", "output_mark_added"),
    "watermark of a text removal": (SPOILT["watermark"][0], "inpainting", "output_mark_added"),
    "mirrored": (SPOILT["mirrored"][0], "lip-sync", "output_orientation"),
    "silent outside": (
        SPOILT_LIP_SYNC["silent outside of the segments"][0],
        "lip-sync",
        "output_sound_muted",
    ),
    "sound late": (SPOILT["sound 0.5 s late"][0], "inpainting", "output_sound_late"),
    "half the size": (SPOILT["half the size"][0], "inpainting", "output_resolution"),
    "half the rate": (
        SPOILT["half the frame rate"][0],
        "lip-sync",
        "output_frame_rate",
    ),
    "darker": (SPOILT["much darker"][0], "inpainting", "output_lightness"),
    "frozen": (SPOILT["frozen"][0], "lip-sync", "output_picture_still"),
    "black bars": (SPOILT["black bars"][0], "inpainting", "output_resolution"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_is_not_as_expected_is_doubtful(judge: Judge, clip: corpus.Clip, kind: str) -> None:
    change, stage, code = FAULTS[kind]
    judgement = judge(Case(clip, stage, kind, change))
    assert judgement.verdict is Verdict.DOUBTFUL
    assert code in [warning.code for warning in judgement.warnings]
    for warning in judgement.warnings:
        assert warning.stage == stage
        assert warning.message.endswith(".")


def test_a_watermark_is_told_with_its_place(judge: Judge, clip: corpus.Clip) -> None:
    judgement = judge(Case(clip, "lip-sync", "watermark", SPOILT["watermark"][0]))
    (warning,) = judgement.warnings
    assert "at the bottom right" in warning.message
    assert "watermark" in warning.message
    assert warning.region is not None
    assert warning.region.x > 0.7
    assert warning.region.y > 0.8
    assert warning.start == 0.0
    assert warning.end == pytest.approx(3.2, abs=0.1)
    assert warning.confidence is not None
    assert warning.confidence > 0.7


@pytest.mark.parametrize("kind", ["cut short by 30 %", "black", "another video", "silent"])
def test_what_is_of_no_use_is_unusable(judge: Judge, clip: corpus.Clip, kind: str) -> None:
    judgement = judge(Case(clip, "lip-sync", kind, SPOILT[kind][0]))
    assert judgement.verdict is Verdict.UNUSABLE


def test_all_that_is_seen_is_told(judge: Judge, clip: corpus.Clip) -> None:
    def both(clip: corpus.Clip) -> corpus.Clip:
        return SPOILT["half the frame rate"][0](SPOILT["watermark"][0](clip))

    judgement = judge(Case(clip, "lip-sync", "both", both))
    codes = [warning.code for warning in judgement.warnings]
    assert codes == ["output_frame_rate", "output_mark_added"]
