"""Liveness and readiness of the gateway."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from gateway.app.context import Context, GatewayContext
from gateway.base.problems import ProblemError
from gateway.base.single_flight import FlightCache
from gateway.prefect_client.api import PrefectRefused
from pro_video.core.errors import ProVideoError

router = APIRouter(tags=["health"])

# Prefect and the bucket are checked no more often, for any number of requests.
_LIFE = 1.0
_PATIENCE = 5.0


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The present state of the services that the gateway needs."""

    status: Literal["ready", "unavailable"]
    prefect: Literal["ok", "unavailable", "no deployment"] = Field(
        description="The server that runs the jobs."
    )
    s3: Literal["ok", "unavailable"] = Field(description="The bucket of the jobs.")


Checks = FlightCache[str, Readiness]


def checks_of(request: Request) -> Checks:
    """The cache of the application that handles ``request``."""
    state = request.app.state
    if not hasattr(state, "checks"):
        state.checks = FlightCache(size=1)
    checks: Checks = state.checks
    return checks


@router.get("/healthz", summary="Liveness")
async def healthz() -> Health:
    """200 while the process answers, also when Prefect or the bucket does not."""
    return Health()


@router.get(
    "/readyz",
    summary="Readiness",
    responses={
        503: {
            "model": Readiness,
            "description": "Something behind the gateway is away.",
            "headers": {
                "Retry-After": {
                    "description": "Seconds after which another try may succeed.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            },
        }
    },
)
async def readyz(
    response: Response, context: Context, checks: Annotated[Checks, Depends(checks_of)]
) -> Readiness:
    """200 when Prefect with its deployment and the bucket answer; 503 names the failing one."""
    found = await checks.get("ready", lambda: _check(context), seconds=_LIFE)
    if found.status != "ready":
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return found


async def _check(context: GatewayContext) -> Readiness:
    prefect, s3 = await asyncio.gather(_prefect(context), _s3(context))
    ready = prefect == s3 == "ok"
    return Readiness(status="ready" if ready else "unavailable", prefect=prefect, s3=s3)


async def _prefect(context: GatewayContext) -> Literal["ok", "unavailable", "no deployment"]:
    try:
        async with asyncio.timeout(_PATIENCE):
            await context.api.call("GET", f"/deployments/name/{context.settings.deployment}")
    except PrefectRefused:
        return "no deployment"
    except (ProblemError, TimeoutError):
        return "unavailable"
    return "ok"


async def _s3(context: GatewayContext) -> Literal["ok", "unavailable"]:
    try:
        async with asyncio.timeout(_PATIENCE):
            await (await context.storage()).head("readyz")
    except (ProblemError, ProVideoError, TimeoutError):
        return "unavailable"
    return "ok"
