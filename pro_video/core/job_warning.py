"""A warning: what a rule or a check says about a job without stopping it."""

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
    """Something that a rule or a check says without stopping the job.

    Attributes:
        code: stable name for machines, for example ``output_picture_changed``.
        message: a sentence for people, complete in itself.
        stage: ``request``, ``upload``, ``lip-sync`` or ``inpainting``.
        field: the field of the request that it is about, when there is one.
        start, end: seconds from the first displayed picture; None without a place in time.
        region: where in the displayed picture; None without one.
        confidence: how sure the check is, from 0 to 1; None for what is certain.
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
