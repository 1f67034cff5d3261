"""The progress table: which stage a job is in, what a user reads, and how far 0 to 100 it is.

The percentage of a job never goes down, and 100 means stored and judged. The names and messages are
those of the replaced system, because users and front ends know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class StageRow:
    """One row of the table: percentages at its start and end, and the name and message shown."""

    start: float
    end: float
    name: str
    message: str


class Stage(Enum):
    """The stages of a job, in their order."""

    UPLOADING = StageRow(0, 10, "Uploading", "Uploading files...")
    LIP_SYNC_PROCESSING = StageRow(10, 50, "Lip-sync processing", "Lip-sync processing...")
    LIP_SYNC_COMPLETED = StageRow(50, 60, "Lip-sync completed", "Lip-sync completed")
    INPAINTING_STARTING = StageRow(
        60, 70, "Starting text inpainting", "Starting text inpainting..."
    )
    INPAINTING_PROCESSING = StageRow(70, 95, "Text inpainting", "Text inpainting in progress...")
    COMPLETED = StageRow(100, 100, "Completed", "Pro video processing completed")

    @property
    def waits(self) -> bool:
        """Does the job only wait for a provider in this stage?"""
        return self in (Stage.LIP_SYNC_PROCESSING, Stage.INPAINTING_PROCESSING)

    @classmethod
    def waiting_in(cls, name: str | None) -> Stage | None:
        """The waiting stage of that name; None when there is none."""
        return next((each for each in cls if each.waits and each.value.name == name), None)

    @property
    def label(self) -> str:
        """The stage's stable name for machines, for example ``lip-sync processing``."""
        return self.name.lower().replace("_", " ").replace("lip sync", "lip-sync")

    def percent(self, fraction: float = 0.0) -> float:
        """The job's percentage when ``fraction`` (0 to 1) of this stage is done."""
        row = self.value
        bounded = min(max(fraction, 0.0), 1.0)
        return round(row.start + (row.end - row.start) * bounded, 1)


LIP_SYNC_ONLY_MESSAGE = "Pro video processing completed (lip-sync only)"
LIP_SYNC_AND_INPAINTING_MESSAGE = "Pro video processing completed (lip-sync + text inpainting)"
RESULT_MESSAGE = "Storing and checking the result..."
"""Shown in a waiting stage once the provider is done, when the job has lost a worker."""
INPAINTING_ONLY_MESSAGE = "Text inpainting completed"

_ENDS = {
    "completed": Stage.COMPLETED.value.message,
    "failed": "The job failed",
    "cancelled": "Cancelled",
}


def end_message(status: str, message: str | None) -> str:
    """The text of an end in every view and message: the state's own, or a default.

    Args:
        status: ``completed``, ``failed`` or ``cancelled``.
        message: of the state.
    """
    return message or _ENDS[status]


@dataclass(slots=True)
class Progress:
    """The progress of one job, which never goes back.

    ``advance`` answers whether anything that a user sees has changed.
    """

    percent: float = 0.0
    stage: Stage | None = None

    def advance(self, stage: Stage, fraction: float = 0.0) -> bool:
        """Move to ``fraction`` of ``stage``; a step back is ignored.

        Returns:
            True when the stage or the percentage changed.
        """
        percent = max(self.percent, stage.percent(fraction))
        changed = stage is not self.stage or percent != self.percent
        self.stage = stage
        self.percent = percent
        return changed


def expected_fraction(elapsed: float, expected: float) -> float:
    """The probable progress of a wait, 0 to 1, from time alone (both in seconds).

    Runs straight to 0.8 at the expected duration and then creeps towards 1 without reaching it,
    so that a slow provider never looks finished.
    """
    if expected <= 0:
        return 0.0
    ratio = max(elapsed, 0.0) / expected
    if ratio <= 1:
        return 0.8 * ratio
    return 0.8 + 0.19 * (1 - 1 / ratio)
