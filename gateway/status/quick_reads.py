"""Answers polls of a cached status before the application's routes and dependencies.

Those cost several times more than the response. Every other request goes on to the routes, which
alone refuse requests: no rule here can be wider than theirs.
"""

from __future__ import annotations

import re
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.auth.rate_limits import RateLimits
from gateway.auth.token_store import TokenStore
from gateway.base.problems import ProblemError
from gateway.base.services import services_of
from gateway.status.status_reader import StatusReader
from gateway.status.status_response import StatusResponse

_ID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_PATH = re.compile(f"/api/v1/(?:video-editors/pro-job/({_ID})/status|jobs/({_ID}))")
_SCHEME = b"Bearer "


class QuickReads:
    """ASGI middleware that answers ``GET`` of a job's status from the cache.

    Only for requests with a valid token and without an origin: pages need CORS headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            match = _PATH.fullmatch(scope["path"])
            if match is not None:
                headers = dict(scope["headers"])
                job_id = match[1] or match[2]
                cached = await _cached(scope, headers, job_id)
                if cached is not None:
                    scope["path_params"] = {"job_id": job_id}
                    known = headers.get(b"if-none-match")
                    response = cached.to(known.decode("latin-1") if known else None)
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


async def _cached(scope: Scope, headers: dict[bytes, bytes], job_id: str) -> StatusResponse | None:
    """The cached response, counted against the owner's limit; None sends the request on."""
    given = headers.get(b"authorization", b"")
    if (
        not given.startswith(_SCHEME)
        or b"origin" in headers
        or len(headers) < len(scope["headers"])
    ):
        return None
    services = services_of(scope["app"])
    try:
        owner = await services[TokenStore].owner_of(given[len(_SCHEME) :].decode("latin-1"))
        response = owner and services[StatusReader].cached_response(owner, UUID(job_id))
        if not owner or not response:
            return None
        services[RateLimits].status_reads.take(owner)
    except ProblemError:
        # The routes meet the same problem, and answer with it.
        return None
    scope["state"]["owner"] = owner
    return response
