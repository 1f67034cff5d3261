"""Clips without sound, and the two comparisons of pictures that the checks of a result make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pro_video.judging.findings import Finding
from pro_video.judging.picture.checks import check_lip_sync_picture, check_text_removal_picture
from pro_video.judging.picture.frame_pairs import Videos
from pro_video.providers.ghostcut.plan import InpaintingPlan, inpainting_plan
from pro_video.request.models import AnnotationArea, InpaintingOptions, Segment
from pro_video.request.timeline import lip_sync_timeline
from tests.support.media.clips import write_clip
from tests.support.media.probed import picture_of

WIDTH, HEIGHT, SECONDS = 320, 192, 3.0
LOGO = {"x": 0.7, "y": 0.1, "width": 0.2, "height": 0.2}


def clip(folder: Path, name: str, draw: Any, **more: Any) -> Path:
    return write_clip(
        folder / f"{name}.mp4",
        width=more.pop("width", WIDTH),
        height=more.pop("height", HEIGHT),
        seconds=SECONDS,
        draw=draw,
        sound=False,
        **more,
    )


def plan(*areas: dict[str, Any]) -> InpaintingPlan:
    checked = [AnnotationArea.model_validate(area) for area in areas]
    return inpainting_plan(checked, InpaintingOptions(), SECONDS)


def compare(before: Path, after: Path, planned: InpaintingPlan) -> list[Finding]:
    videos = Videos(before, after, picture_of(before), picture_of(after), SECONDS)
    return check_text_removal_picture(videos, planned, SECONDS)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def area(kind: str, region: dict[str, float], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "region": region, **more}


def lips(before: Path, after: Path, start: float, end: float) -> list[Finding]:
    segments = [Segment(start=start, end=end, audio="a")]
    timeline = lip_sync_timeline(SECONDS, segments, [end - start], "cut_off")
    videos = Videos(before, after, picture_of(before), picture_of(after), SECONDS)
    return check_lip_sync_picture(videos, segments, timeline)
