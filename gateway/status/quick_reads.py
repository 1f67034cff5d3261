"""Answers polls of a cached status before the application's routes and dependencies, which would
cost several times more than the response.

Every other request goes to the routes, which alone decide about refusals: no rule is written here
that could be wider than theirs.
"""

from __future__ import annotations

import re
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app.context import GatewayContext
from gateway.app.services import Services
from gateway.base.problems import ProblemError
from gateway.status.status_response import Answer

_ID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_PATH = re.compile(f"/api/v1/(?:video-editors/pro-job/({_ID})/status|jobs/({_ID}))")
_SCHEME = b"Bearer "


class QuickReads:
    """ASGI middleware that answers ``GET`` of a job's status when it needs no look at the job.

    Only for requests with a valid token and without an origin: pages need headers of their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            match = _PATH.fullmatch(scope["path"])
            if match is not None:
                headers = dict(scope["headers"])
                job_id = match[1] or match[2]
                answer = await _ready(scope, headers, job_id)
                if answer is not None:
                    scope["path_params"] = {"job_id": job_id}
                    known = headers.get(b"if-none-match")
                    response = answer.response(known.decode("latin-1") if known else None)
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)


async def _ready(scope: Scope, headers: dict[bytes, bytes], job_id: str) -> Answer | None:
    """The answer, counted against the owner's pace; None for all that is not plain."""
    given = headers.get(b"authorization", b"")
    if (
        not given.startswith(_SCHEME)
        or b"origin" in headers
        or len(headers) < len(scope["headers"])
    ):
        return None
    state = scope["app"].state
    context, services = state.context, state.services
    assert isinstance(context, GatewayContext)
    assert isinstance(services, Services)
    try:
        owner = await context.tokens.owner_of(given[len(_SCHEME) :].decode("latin-1"))
        answer = None if owner is None else services.status.ready(owner, UUID(job_id))
        if owner is None or answer is None:
            return None
        services.status_pace.take(owner)
    except ProblemError:
        # The ordinary way comes to the same end, and says so.
        return None
    scope["state"]["owner"] = owner
    return answer
