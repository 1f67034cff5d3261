"""The owner of a request: that of its bearer token, or ``local`` until the first token exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.auth.rate_limits import RateLimiter, RateLimits
from gateway.auth.token_store import LOCAL_OWNER, TokenStore
from gateway.base.problems import ProblemError
from gateway.base.services import Settings, service
from gateway.base.settings import GatewaySettings
from pro_video.net.addresses import is_loopback

_BEARER = HTTPBearer(
    auto_error=False,
    bearerFormat="opaque",
    description="A token from `pro-video tokens create OWNER`. Until the first token "
    "is made, clients on the same machine need none.",
)
# Beginnings and end of the headers that proxies add; their clients may be anywhere.
_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip", "via", "cf-")
_CLIENT = "client-ip"


async def owner_of(
    request: Request,
    settings: Settings,
    tokens: Annotated[TokenStore, service(TokenStore)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)] = None,
) -> str:
    """The owner of a request.

    Raises:
        ProblemError: 401 without a valid token, 403 from a page of another origin, 503 while the
            tokens cannot be read.
    """
    # A request with a token, even an invalid one, is never one of the local owner.
    if "authorization" not in request.headers and not await tokens.exist():
        _refuse_remote(request, settings)
        return LOCAL_OWNER
    owner = await tokens.owner_of(credentials.credentials) if credentials else None
    if owner is None:
        raise _unauthorized("The request has no valid token. Send one as Authorization: Bearer …")
    return owner


def _within(limiter_of: Callable[[RateLimits], RateLimiter]) -> Any:
    async def limited(
        request: Request,
        owner: Annotated[str, Depends(owner_of)],
        limits: Annotated[RateLimits, service(RateLimits)],
    ) -> str:
        request.scope.setdefault("state", {})["owner"] = owner
        limiter_of(limits).take(owner)
        return owner

    return Depends(limited)


Owner = Annotated[str, _within(lambda limits: limits.requests)]
"""For parameters of routes: the owner of the request, within the limit of requests."""

StatusReadOwner = Annotated[str, _within(lambda limits: limits.status_reads)]
"""For parameters of status routes: the owner of the request, within the limit of status reads."""


def _unauthorized(detail: str) -> ProblemError:
    headers = {"WWW-Authenticate": 'Bearer realm="pro-video"'}
    return ProblemError(401, "unauthorized", detail, headers=headers)


def _refuse_remote(request: Request, settings: GatewaySettings) -> None:
    peer = request.client.host if request.client else ""
    forwarded = any(
        name.startswith(_FORWARDED) or name.endswith(_CLIENT) for name in request.headers
    )
    # The name counts too: the gateway may answer under a public one.
    if not is_loopback(peer) or forwarded or not is_loopback(request.url.hostname or ""):
        raise _unauthorized(
            "There is no token yet, so only direct clients on the same machine are served. Make a "
            "token with: pro-video tokens create OWNER"
        )
    origin = request.headers.get("origin")
    allowed = settings.cors_origins
    if origin is None or origin in allowed or "*" in allowed:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise ProblemError(
            403,
            "origin_refused",
            "Pages of this origin may not use the API. Add it to PRO_VIDEO_GATEWAY_CORS_ORIGINS.",
        )
