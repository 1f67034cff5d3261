"""Warnings of rules and checks that do not stop a job."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Place(BaseModel):
    """A rectangle of the displayed frame: fractions from 0 to 1, origin top left."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    x: float
    y: float
    width: float
    height: float


class JobWarning(BaseModel):
    """A warning of a rule or a check; the job goes on.

    Attributes:
        code: stable name for machines, for example ``output_picture_changed``.
        message: a complete sentence for people.
        stage: ``request``, ``upload``, ``lip-sync`` or ``inpainting``.
        field: the field of the request, if any.
        start, end: seconds from the first displayed picture; None without a place in time.
        region: the place in the displayed picture; None without one.
        confidence: of the check, from 0 to 1; None for certain facts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    message: str
    stage: str
    field: str | None = None
    start: float | None = None
    end: float | None = None
    region: Place | None = None
    confidence: float | None = None
