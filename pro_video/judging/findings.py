"""Findings of the checks: facts about a result, with their place in time and in the picture."""

from __future__ import annotations

from dataclasses import dataclass

from pro_video.core.job_warning import JobWarning, Place
from pro_video.judging.picture.pictures import Box


@dataclass(frozen=True, slots=True)
class Finding:
    """Something unexpected.

    Attributes:
        code: stable name for machines; `docs/verdicts.md` lists them.
        fact: a sentence for people, complete in itself, without advice.
        unusable: does it make the whole file unusable?
        start, end: seconds of the result from its first displayed picture.
        region: where in the displayed picture.
        confidence: from 0 to 1; None for counted facts.
    """

    code: str
    fact: str
    unusable: bool = False
    start: float | None = None
    end: float | None = None
    region: Box | None = None
    confidence: float | None = None

    def warning(self, stage: str) -> JobWarning:
        """The warning for the job's user."""
        place = None
        if self.region is not None:
            left, top, right, bottom = (round(min(max(edge, 0), 1), 4) for edge in self.region)
            place = Place(
                x=left, y=top, width=round(right - left, 4), height=round(bottom - top, 4)
            )
        return JobWarning(
            code=self.code,
            message=self.fact,
            stage=stage,
            start=None if self.start is None else round(self.start, 3),
            end=None if self.end is None else round(self.end, 3),
            region=place,
            confidence=None if self.confidence is None else round(self.confidence, 2),
        )


def where(region: Box) -> str:
    """The place of a region in words: "at the bottom right"."""
    left, top, right, bottom = region
    if (right - left) * (bottom - top) > 0.5:
        return "in most of the frame"
    x, y = (left + right) / 2, (top + bottom) / 2
    row = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    name = " ".join(part for part in (row, column) if part)
    return f"at the {name}" if name else "in the middle"


def when(start: float, end: float) -> str:
    """A range of seconds, or a moment, in words."""
    if end - start < 0.05:
        return f"at {start:.1f} s"
    return f"from {start:.1f} to {end:.1f} s"
