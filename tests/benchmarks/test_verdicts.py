"""A few results of which the truth is known; `benchmarks.verdicts` has many more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks import corpus
from benchmarks.verdicts import (
    OF_HDR,
    SPOILT,
    SPOILT_LIP_SYNC,
    Case,
    Change,
    Judge,
)
from pro_video.judging.verdict import Verdict


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


def zoomed(picture: corpus.Picture) -> corpus.Picture:
    height, width = picture.shape[:2]
    inner = picture[height // 12 : -(height // 12), width // 12 : -(width // 12)]
    return np.asarray(Image.fromarray(inner).resize((width, height)))


def moved(picture: corpus.Picture) -> corpus.Picture:
    return np.roll(picture, (picture.shape[0] // 15, -picture.shape[1] // 12), axis=(0, 1))


def stopping(clip: corpus.Clip) -> corpus.Clip:
    half = len(clip.pictures) // 2
    still = [clip.pictures[half]] * (len(clip.pictures) - half)
    return replace(clip, pictures=[*clip.pictures[:half], *still])


def faint(picture: corpus.Picture) -> corpus.Picture:
    """A white mark of 40 % in front of what is nearly white half of the time."""
    picture = picture.copy()
    height, width = picture.shape[:2]
    place = picture[height * 9 // 10 : height * 19 // 20, width * 3 // 4 : width * 9 // 10]
    place[:] = place + (0.4 * (255 - place.astype(float))).astype(np.uint8)
    return picture


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
    "zoomed": (lambda clip: corpus.mapped(clip, zoomed), "inpainting", "output_picture_changed"),
    "moved": (lambda clip: corpus.mapped(clip, moved), "lip-sync", "output_picture_changed"),
    "another sound outside": (
        SPOILT_LIP_SYNC["another sound outside"][0],
        "lip-sync",
        "output_sound_foreign",
    ),
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


def test_a_picture_that_stands_from_the_middle_on_is_told(judge: Judge) -> None:
    draw = corpus.filmed(320, 180, 3, light=0.9, pan=60)
    panned = replace(made("pan"), pictures=[draw(number / 15) for number in range(48)])
    judgement = judge(Case(panned, "inpainting", "stopping", stopping))
    (warning,) = judgement.warnings
    assert warning.code == "output_picture_still"
    assert warning.start == pytest.approx(1.6, abs=0.3)
    assert judge(Case(panned, "inpainting", "plain", lambda clip: clip)).warnings == ()


def test_a_mark_is_seen_where_it_is_dark_behind_it(judge: Judge) -> None:
    film = made("flashing film")
    pictures = [picture.copy() for picture in film.pictures]
    for number, picture in enumerate(pictures):
        if number // 6 % 2:
            picture[len(picture) * 4 // 5 :, picture.shape[1] // 2 :] = 245
    flashing = replace(film, pictures=pictures)
    judgement = judge(Case(flashing, "lip-sync", "faint", lambda clip: corpus.mapped(clip, faint)))
    assert [warning.code for warning in judgement.warnings] == ["output_mark_added"]
