"""The verdict on a result that was paid for: one call reads all it needs and collects all it sees.

Each function is one piece of work for `inspection.examine`: it opens the files itself, and no limit
of its reading makes a result unusable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from pro_video.errors import MediaUnusable, OutputRejected
from pro_video.inpainting_plan import InpaintingPlan
from pro_video.inspection.changes import check_lips_changed, check_picture_changed, untouched
from pro_video.inspection.heard import SLACK, check_sound_kept, check_sound_replaced, lines
from pro_video.inspection.reading import Source
from pro_video.media_info import MediaInfo
from pro_video.request import JobRequest
from pro_video.rules.files import audible_seconds
from pro_video.timeline import lip_sync_timeline
from pro_video.verdict import JobWarning, Judgement, Verdict
from pro_video.verify import check_output, expected_duration, same_duration

Stage = Literal["lip-sync", "inpainting"]

READ_BUDGET: Final = 1024 * 1024 * 1024
"""Bytes that a judgement may read of one file: all its looks together, and the blocks around."""

_UNUSABLE: Final = frozenset(
    {
        "output_empty",
        "output_truncated",
        "output_unreadable",
        "output_no_picture",
        "output_no_sound",
        "output_duration",
        "output_undecodable",
        "output_picture_foreign",
        "output_sound_muted",
    }
)


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
        result: what came back.
        audios: the audio of each segment, by its source string (`Segment.audio`).
        request: what was asked for.
        audio_infos: the probes of the audios, by the same strings.
        video: the probe of the source.
        size: bytes of the result as they are stored.
        expected_size: bytes that the provider announced, when it did.

    Raises:
        TransientError: a file cannot be reached at the moment.
    """
    seen = _Seen("lip-sync")
    info = seen.value(
        check_output,
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
    if not isinstance(info, MediaInfo) or info.video is None or video.video is None:
        return seen.judgement(None)
    heard = [audible_seconds(segment, audio_infos[segment.audio]) for segment in request.segments]
    timeline = lip_sync_timeline(
        video.duration, request.segments, heard, request.lip_sync.sync_mode
    ).observed(info.duration)
    seen.value(
        check_lips_changed,
        source,
        result,
        request.segments,
        timeline,
        length=info.duration,
        source=video.video,
        result=info.video,
    )
    if video.audio is not None:
        ranges = untouched(request.segments, timeline, info.duration, SLACK)
        seen.value(check_sound_kept, source, result, ranges, timeline.at)
    compared = [
        (line, audios[request.segments[line.segment].audio])
        for line in lines(request.segments, heard, timeline, info.duration)
    ]
    seen.value(check_sound_replaced, source, result, compared)
    return seen.judgement(info)


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
        result: what came back.
        plan: what was asked for; its times are those of ``source``.
        video: the probe of the source.
        size: bytes of the result as they are stored.
        expected_size: bytes that the provider announced, when it did.

    Raises:
        TransientError: a file cannot be reached at the moment.
    """
    seen = _Seen("inpainting")
    info = seen.value(
        check_output,
        result,
        size=size,
        expected_size=expected_size,
        duration=same_duration(video),
        sound=video.audio is not None,
        like=video,
        what="the result",
    )
    if not isinstance(info, MediaInfo) or info.video is None or video.video is None:
        return seen.judgement(None)
    seen.value(
        check_picture_changed,
        source,
        result,
        plan,
        video.duration,
        source=video.video,
        result=info.video,
    )
    if video.audio is not None:
        ranges = [(0.0, min(video.duration, info.duration))]
        seen.value(check_sound_kept, source, result, ranges)
    return seen.judgement(info)


def unjudged(stage: Stage, error: MediaUnusable) -> Judgement:
    """The verdict where reading met a limit of time or memory: nothing is known against the file.

    Args:
        stage: whose result it is.
        error: of `inspection.examine`.
    """
    warning = JobWarning(
        code="output_not_judged",
        message=f"The {stage} result was not checked: {error.message}.",
        stage=stage,
    )
    return Judgement(verdict=Verdict.DOUBTFUL, warnings=(warning,))


class _Seen:
    """Collects what the checks of one stage find."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._warnings: list[JobWarning] = []
        self._verdict = Verdict.GOOD

    def value(self, check: Callable[..., object], *args: object, **kwargs: object) -> object:
        try:
            return check(*args, **kwargs)
        except OutputRejected as error:
            code = error.code or "output_unreadable"
            if code in _UNUSABLE:
                self._verdict = Verdict.UNUSABLE
            elif self._verdict is Verdict.GOOD:
                self._verdict = Verdict.DOUBTFUL
            self._warnings.append(JobWarning(code=code, message=error.message, stage=self._stage))
            return None

    def judgement(self, info: MediaInfo | None) -> Judgement:
        return Judgement(verdict=self._verdict, warnings=tuple(self._warnings), info=info)
