"""The verdict on a paid result: one call reads the files and collects all findings.

Each function is one call for `media.children.examine`: it opens the files itself, and no limit of
its reading makes a result unusable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
from pro_video.request.timeline import audible_seconds, lip_sync_timeline

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

    def compare(videos: Videos) -> Iterator[Finding]:
        # The comparisons go through the video; their messages name a segment by the user's list.
        order = sorted(range(len(request.segments)), key=lambda n: request.segments[n].start)
        segments = [request.segments[n] for n in order]
        heard = [audible_seconds(each, audio_infos[each.audio]) for each in segments]
        timeline = lip_sync_timeline(
            video.duration, segments, heard, request.lip_sync.sync_mode
        ).observed(videos.length)
        yield from check_lip_sync_picture(videos, segments, timeline)
        kept = untouched(segments, timeline, videos.length, NEAR)
        compared = [
            (replace(part, segment=order[part.segment]), audios[segments[part.segment].audio])
            for part in segments_to_compare(segments, heard, timeline, videos.length)
        ]
        yield from check_sound(
            source,
            result,
            kept=kept if video.audio is not None else [],
            at=timeline.at,
            compared=compared,
            length=videos.length,
        )

    return _judgement("lip-sync", checked, (source, result), video, compare)


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

    def compare(videos: Videos) -> Iterator[Finding]:
        yield from check_text_removal_picture(videos, plan, video.duration)
        if video.audio is not None:
            kept = [(0.0, min(video.duration, videos.length))]
            yield from check_sound(source, result, kept=kept, length=videos.length)

    return _judgement("inpainting", checked, (source, result), video, compare)


def unjudged(stage: Stage, error: MediaUnusable) -> Judgement:
    """The verdict of a result whose reading met a limit of time or memory.

    Args:
        stage: of the result.
        error: of `media.children.examine`.
    """
    fact = f"The {stage} result was not checked: {error.message}."
    warning = Finding("output_not_judged", fact).warning(stage)
    return Judgement(verdict=Verdict.DOUBTFUL, warnings=(warning,))


def _judgement(
    stage: Stage,
    checked: FileCheck,
    files: tuple[Source, Source],
    video: MediaInfo,
    compare: Callable[[Videos], Iterable[Finding]],
) -> Judgement:
    """The judgement of a file's own findings and of the comparison with its source, with findings
    that make the result unusable first."""
    findings, info = list(checked.findings), checked.info
    if (
        checked.comparable
        and info is not None
        and info.video is not None
        and video.video is not None
    ):
        try:
            # One by one: findings before the error stay.
            for finding in compare(Videos(*files, video.video, info.video, info.duration)):
                findings.append(finding)
        except MediaUnusable as error:
            fact = f"The result was not compared with its source: {error.message}."
            findings.append(Finding("output_not_judged", fact))
    findings.sort(key=lambda finding: not finding.unusable)
    verdict = Verdict.GOOD
    if findings:
        verdict = Verdict.UNUSABLE if findings[0].unusable else Verdict.DOUBTFUL
    warnings = tuple(finding.warning(stage) for finding in findings)
    return Judgement(verdict=verdict, warnings=warnings, info=info)
