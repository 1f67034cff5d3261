"""Segments that touch, as editors send them.

Sync.so's documentation does not mention them; one public report of 2025 says that touching ranges
are refused after the upload. So the former of two ends a little earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pro_video.core.job_warning import JobWarning
from pro_video.request import limits
from pro_video.request.models import Segment
from pro_video.request.problems import Problems
from pro_video.request.rules_warnings import request_warning

Touching = Literal["trim", "refuse"]
"""Handling of segments that are too close: the former ends earlier, or both are refused."""


def keep_apart(
    segments: Sequence[Segment | None],
    gap: float,
    touching: Touching,
    found: Problems,
    warnings: list[JobWarning],
) -> list[Segment | None]:
    """The segments with at least ``gap`` seconds between them.

    Args:
        segments: in any order, None for one that could not be read; overlapping ones are refused
            elsewhere.
        gap: seconds.
        touching: shorten the former, or refuse.
        found: receives the problems.
        warnings: receives the shortened ends.
    """
    apart = list(segments)
    in_time = sorted(
        (segment.start, index) for index, segment in enumerate(segments) if segment is not None
    )
    for (_, first), (_, second) in pairwise(in_time):
        before, after = apart[first], apart[second]
        assert before is not None
        assert after is not None
        path, next_path = f"segments[{first}]", f"segments[{second}]"
        space = after.start - before.end
        if not -limits.TIME_TOLERANCE <= space < gap - limits.TIME_TOLERANCE:
            continue
        end = round(after.start - gap, 6)
        if touching == "refuse":
            found.add(
                f"{next_path}.start",
                "segments_touch",
                f"is less than {gap:.3g} s after the end of {path} "
                f"({before.end:g} s), and Sync.so refuses segments that touch; leave a gap of "
                "at least that much",
            )
        elif end - before.start < limits.MIN_SEGMENT - limits.TIME_TOLERANCE:
            found.add(
                f"{path}.end",
                "segment_too_short",
                f"leaves less than {limits.MIN_SEGMENT:g} s, because the segment has to end "
                f"{gap:.3g} s before {next_path}; make it longer, or merge them",
            )
        else:
            apart[first] = before.model_copy(update={"end": end})
            warnings.append(
                request_warning(
                    f"{path}.end",
                    "segment_end_trimmed",
                    f"{path}.end ({before.end:g} s) touches {next_path}, and "
                    f"Sync.so may refuse segments that touch; it was moved to {end:g} s",
                )
            )
    return apart
