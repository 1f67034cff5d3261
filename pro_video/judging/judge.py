"""The verdict on a paid result: one call reads the files and collects all findings.

Each function is one call for `media.children.examine`: it opens the files itself, and no limit of
its reading makes a result unusable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, Literal

from pro_video.core.errors import MediaUnusable
from pro_video.judging.findings import Finding
from pro_video.judging.picture.checks import (
    check_lip_sync_picture,
    check_text_removal_picture,
    untouched,
)
from pro_video.judging.picture.frame_pairs import Videos
from pro_video.judging.result_checks import (
    FileCheck,
    check_output,
    expected_duration,
    same_duration,
)
from pro_video.judging.sound.checks import NEAR, check_sound, segments_to_compare
from pro_video.judging.verdict import Judgement, Verdict
from pro_video.media.info import MediaInfo
from pro_video.media.reading.open import Source
from pro_video.providers.ghostcut.plan import InpaintingPlan
from pro_video.request.check import JobRequest
from pro_video.request.rules_warnings import audible_seconds
from pro_video.request.timeline import lip_sync_timeline

Stage = Literal["lip-sync", "inpainting"]

READ_BUDGET: Final = 1024 * 1024 * 1024
"""Bytes that a judgement may read of one file, block reads included."""


def judge_lip_sync(
    source: Source,
    result: Source,
    audios: Mapping[str, Source],
    *,
    request: JobRequest,
    audio_infos: Mapping[str, MediaInfo],
    video: MediaInfo,
    size: int,
    expected_size: int | None = None,
) -> Judgement:
    """The verdict on a lip-sync result.

    Args:
        source: the video that was sent: a path or a seekable stream.
        result: the provider's result.
        audios: the audio of each segment, by its source string (`Segment.audio`).
        request: the checked request.
        audio_infos: the probes of the audios, by the same strings.
        video: the probe of the source.
        size: bytes of the result as they are stored.
        expected_size: bytes that the provider announced, when it did.

    Raises:
        TransientError: a file cannot be reached at the moment.
    """
    checked = check_output(
        result,
        size=size,
        expected_size=expected_size,
        duration=expected_duration(
            video, request.segments, audio_infos, request.lip_sync.sync_mode
        ),
        sound=True,
        like=video,
        what="the lip-sync result",
    )
    info = checked.info
    if not checked.comparable or info is None or info.video is None or video.video is None:
        return _judgement("lip-sync", checked)
    # The comparisons go through the video; their messages name a segment by the user's list.
    order = sorted(range(len(request.segments)), key=lambda n: request.segments[n].start)
    segments = [request.segments[n] for n in order]
    heard = [audible_seconds(segment, audio_infos[segment.audio]) for segment in segments]
    timeline = lip_sync_timeline(
        video.duration, segments, heard, request.lip_sync.sync_mode
    ).observed(info.duration)
    findings: list[Finding] = []
    try:
        videos = Videos(source, result, video.video, info.video, info.duration)
        findings += check_lip_sync_picture(videos, segments, timeline)
        kept = untouched(segments, timeline, info.duration, NEAR) if video.audio else []
        compared = [
            (replace(line, segment=order[line.segment]), audios[segments[line.segment].audio])
            for line in segments_to_compare(segments, heard, timeline, info.duration)
        ]
        findings += check_sound(
            source, result, kept=kept, at=timeline.at, compared=compared, length=info.duration
        )
    except MediaUnusable as error:
        findings.append(_not_compared(error))
    return _judgement("lip-sync", checked, findings)


def judge_inpainting(
    source: Source,
    result: Source,
    *,
    plan: InpaintingPlan,
    video: MediaInfo,
    size: int,
    expected_size: int | None = None,
) -> Judgement:
    """The verdict on a text removal.

    Args:
        source: the video that was sent: a path or a seekable stream.
        result: the provider's result.
        plan: of the text removal; its times are those of ``source``.
        video: the probe of the source.
        size: bytes of the result as they are stored.
        expected_size: bytes that the provider announced, when it did.

    Raises:
        TransientError: a file cannot be reached at the moment.
    """
    checked = check_output(
        result,
        size=size,
        expected_size=expected_size,
        duration=same_duration(video),
        sound=video.audio is not None,
        like=video,
        lines=int(plan.resolution.removesuffix("p")),
        what="the text removal's result",
    )
    info = checked.info
    if not checked.comparable or info is None or info.video is None or video.video is None:
        return _judgement("inpainting", checked)
    findings: list[Finding] = []
    try:
        videos = Videos(source, result, video.video, info.video, info.duration)
        findings += check_text_removal_picture(videos, plan, video.duration)
        if video.audio is not None:
            kept = [(0.0, min(video.duration, info.duration))]
            findings += check_sound(source, result, kept=kept, length=info.duration)
    except MediaUnusable as error:
        findings.append(_not_compared(error))
    return _judgement("inpainting", checked, findings)


def unjudged(stage: Stage, error: MediaUnusable) -> Judgement:
    """The verdict of a result whose reading met a limit of time or memory.

    Args:
        stage: of the result.
        error: of `media.children.examine`.
    """
    fact = f"The {stage} result was not checked: {error.message}."
    warning = Finding("output_not_judged", fact).warning(stage)
    return Judgement(verdict=Verdict.DOUBTFUL, warnings=(warning,))


def _not_compared(error: MediaUnusable) -> Finding:
    return Finding(
        "output_not_judged", f"The result was not compared with its source: {error.message}."
    )


def _judgement(stage: Stage, checked: FileCheck, more: Iterable[Finding] = ()) -> Judgement:
    """The judgement, with findings that make the result unusable first."""
    findings = sorted([*checked.findings, *more], key=lambda finding: not finding.unusable)
    verdict = Verdict.GOOD
    if findings:
        verdict = Verdict.UNUSABLE if findings[0].unusable else Verdict.DOUBTFUL
    warnings = tuple(finding.warning(stage) for finding in findings)
    return Judgement(verdict=verdict, warnings=warnings, info=checked.info)
