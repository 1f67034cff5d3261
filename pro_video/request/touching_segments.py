"""Segments that touch, as editors send them.

Sync.so documents nothing about them; one public report of 2025 says that touching ranges are
refused after the upload. They are therefore kept apart: the former of two ends a little earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pro_video.core.job_warning import JobWarning
from pro_video.request import limits
from pro_video.request.models import Segment
from pro_video.request.problems import Findings
from pro_video.request.rules_warnings import note

Touching = Literal["trim", "refuse"]
"""Handling of segments that are too close: the former ends earlier, or both are refused."""


def keep_apart(
    segments: Sequence[Segment],
    paths: Sequence[str],
    gap: float,
    touching: Touching,
    found: Findings,
    told: list[JobWarning],
) -> list[Segment]:
    """The segments with at least ``gap`` seconds between them.

    Args:
        segments: in order of time; those that overlap are left alone, as they are refused anyway.
        paths: how the user's list names each of them.
        gap: seconds.
        touching: shorten the former, or refuse.
        found: gets what is refused.
        told: gets what was shortened.
    """
    apart = list(segments)
    for index in range(1, len(apart)):
        before, after = apart[index - 1], apart[index]
        space = after.start - before.end
        if not -limits.TIME_TOLERANCE <= space < gap - limits.TIME_TOLERANCE:
            continue
        end = round(after.start - gap, 6)
        if touching == "refuse":
            found.add(
                f"{paths[index]}.start",
                "segments_touch",
                f"is less than {gap:.3g} s after the end of {paths[index - 1]} "
                f"({before.end:g} s), and Sync.so refuses segments that touch; leave a gap of "
                "at least that much",
            )
        elif end - before.start < limits.MIN_SEGMENT - limits.TIME_TOLERANCE:
            found.add(
                f"{paths[index - 1]}.end",
                "segment_too_short",
                f"leaves less than {limits.MIN_SEGMENT:g} s, because the segment has to end "
                f"{gap:.3g} s before {paths[index]}; make it longer, or merge them",
            )
        else:
            apart[index - 1] = before.model_copy(update={"end": end})
            told.append(
                note(
                    f"{paths[index - 1]}.end",
                    "segment_end_trimmed",
                    f"{paths[index - 1]}.end ({before.end:g} s) touches {paths[index]}, and "
                    f"Sync.so may refuse segments that touch; it was moved to {end:g} s",
                )
            )
    return apart
