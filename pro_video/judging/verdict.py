"""The verdict of the checks on a paid result, and its warnings for the user.

No verdict withholds a result: a good one is delivered, a doubtful one is delivered or, at the
user's wish, held, and an unusable one stays named and linked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pro_video.core.job_warning import JobWarning
from pro_video.media.info import MediaInfo

OnDoubt = Literal["deliver", "hold"]
"""Handling of a doubtful result: it is delivered with warnings, or the job stops with it."""


class Verdict(StrEnum):
    """The usability of a result.

    ``GOOD``: as expected. ``DOUBTFUL``: something is unexpected; the result is delivered with
    warnings. ``UNUSABLE``: no video, not decodable, cut short, silent although its source has
    sound, or nothing of the source in it.
    """

    GOOD = "good"
    DOUBTFUL = "doubtful"
    UNUSABLE = "unusable"


class Judgement(BaseModel):
    """The verdict on one result.

    Attributes:
        verdict: good, doubtful or unusable.
        warnings: the findings; for an unusable result the first one is the reason.
        info: the probe of the file; None when it could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    verdict: Verdict
    warnings: tuple[JobWarning, ...] = ()
    info: MediaInfo | None = None
