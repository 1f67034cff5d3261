"""Responses to status reads: bytes that are made once, with an ``ETag``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.responses import Response

# For the client alone, and to be asked for again each time.
_CACHE_CONTROL = "private, no-cache"


@dataclass(frozen=True)
class Answer:
    """One status of one job.

    Attributes:
        body: the view as JSON.
        tag: its ``ETag``, with the quotes.
    """

    body: bytes
    tag: str

    @classmethod
    def of(cls, body: bytes) -> Answer:
        """The answer with this body; the same body always has the same tag."""
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def response(self, if_none_match: str | None) -> Response:
        """200 with the body, or 304 when ``if_none_match`` says that the client has it."""
        headers = {"ETag": self.tag, "Cache-Control": _CACHE_CONTROL}
        if if_none_match is not None and self._is_among(if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")

    def _is_among(self, tags: str) -> bool:
        given = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return self.tag in given or "*" in given
