"""The files that a request names: their fields, and their names in messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pro_video.core.errors import Problem, ProVideoError
from pro_video.core.redaction import redact_url
from pro_video.request.check import InpaintingRequest, JobRequest


@dataclass(frozen=True)
class NamedSource:
    """A source and the field of the request that names it first."""

    field: str
    source: str

    @property
    def name(self) -> str:
        """The whole name as the user gave it, without the query of a link."""
        return redact_url(self.source) if "://" in self.source else self.source

    def problem(self, error: ProVideoError) -> Problem:
        """The problem of the file, for a response that names every field."""
        named = self.name in error.message
        message = error.message if named else f"{self.name}: {error.message}"
        return Problem(self.field, message, error.code or type(error).__name__)


def sources_of(
    request: JobRequest | InpaintingRequest,
) -> tuple[NamedSource, Sequence[NamedSource]]:
    """The video, and each distinct audio in the order of their copies."""
    audios = []
    if isinstance(request, JobRequest):
        sources = [segment.audio for segment in request.segments]
        audios = [
            NamedSource(f"segments[{sources.index(audio)}].audio", audio)
            for audio in request.audios
        ]
    return NamedSource("video", request.video), audios
