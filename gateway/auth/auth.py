"""The owner of a request: that of its bearer token, or the local machine until there is one."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.app.context import Context
from gateway.app.problems import ProblemError
from gateway.auth.token_store import LOCAL_OWNER
from pro_video.net.addresses import is_loopback

_BEARER = HTTPBearer(
    auto_error=False,
    bearerFormat="opaque",
    description="A token from `pro-video tokens create OWNER`. Until the first "
    "is made, clients on the same machine need none.",
)
# Headers that begin or end so are a proxy's, behind which the client may be anywhere.
_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip", "via", "cf-")
_CLIENT = "client-ip"


async def owner_of(
    request: Request,
    context: Context,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)] = None,
) -> str:
    """The name of the caller.

    Raises:
        ProblemError: 401 without a valid token, 403 from a page that may not use the API, 503
            while the tokens cannot be read.
    """
    # A request with a token is its owner's, and must never be handled as another one's.
    if "authorization" not in request.headers and not await context.tokens.is_closed():
        _refuse_remote(request, context)
        return LOCAL_OWNER
    owner = await context.tokens.owner_of(credentials.credentials) if credentials else None
    if owner is None:
        raise ProblemError(
            401,
            "unauthorized",
            "Send a valid token: Authorization: Bearer …",
            headers={"WWW-Authenticate": 'Bearer realm="pro-video"'},
        )
    return owner


CurrentOwner = Annotated[str, Depends(owner_of)]
"""For parameters of routes: the name of the caller."""


def _refuse_remote(request: Request, context: Context) -> None:
    peer = request.client.host if request.client else ""
    forwarded = any(
        name.startswith(_FORWARDED) or name.endswith(_CLIENT) for name in request.headers
    )
    # Also under a name that the gateway answers to: without a token it is for this machine alone.
    if not is_loopback(peer) or forwarded or not is_loopback(request.url.hostname or ""):
        raise ProblemError(
            401,
            "unauthorized",
            "No token is configured, so only clients on the same machine are served, and none that "
            "a proxy forwards. Make one with: pro-video tokens create OWNER",
            headers={"WWW-Authenticate": 'Bearer realm="pro-video"'},
        )
    origin = request.headers.get("origin")
    allowed = context.settings.cors_origins
    if origin is None or origin in allowed or "*" in allowed:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise ProblemError(
            403,
            "origin_refused",
            "Pages of this origin may not use the API. Name it in PRO_VIDEO_GATEWAY_CORS_ORIGINS.",
        )
