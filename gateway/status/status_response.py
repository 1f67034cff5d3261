"""Conditional responses to status reads: bytes that are made once, with an ``ETag``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.responses import Response

# Caches may keep it for its client alone, and have to ask again each time.
_CACHE_CONTROL = "private, no-cache"


@dataclass(frozen=True)
class StatusResponse:
    """One view of one job.

    Attributes:
        body: the view as JSON.
        tag: its ``ETag``, with the quotes.
    """

    body: bytes
    tag: str

    @classmethod
    def of(cls, body: bytes) -> StatusResponse:
        """The response with a body; the same body always has the same tag."""
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def to(self, if_none_match: str | None) -> Response:
        """304 for a client whose ``If-None-Match`` names this response, otherwise 200."""
        headers = {"ETag": self.tag, "Cache-Control": _CACHE_CONTROL}
        if if_none_match is not None and self._is_among(if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")

    def _is_among(self, tags: str) -> bool:
        given = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return self.tag in given or "*" in given
