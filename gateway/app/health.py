"""Liveness and readiness of the gateway."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from gateway.base.problems import RETRY_AFTER, ProblemError
from gateway.base.services import service
from gateway.base.settings import GatewaySettings
from gateway.base.single_flight import SingleFlightCache
from gateway.bucket.bucket import Bucket
from gateway.prefect_client.api import PrefectApi, PrefectRefused
from pro_video.core.errors import ProVideoError

router = APIRouter(tags=["health"])

# One check of Prefect and of the bucket serves all requests within this time, in seconds.
_LIFE = 1.0
_TIMEOUT = 5.0


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


class ReadinessCheck:
    """Checks the services of one gateway."""

    def __init__(self, settings: GatewaySettings, api: PrefectApi, bucket: Bucket) -> None:
        self._deployment = settings.deployment
        self._api = api
        self._bucket = bucket
        self._results: SingleFlightCache[str, Readiness] = SingleFlightCache(size=1)

    async def result(self) -> Readiness:
        """The result of the last check, or of a new one."""
        return await self._results.get("ready", self._check, seconds=_LIFE)

    async def _check(self) -> Readiness:
        prefect, s3 = await asyncio.gather(self._prefect(), self._s3())
        status: Literal["ready", "unavailable"] = (
            "ready" if prefect == s3 == "ok" else "unavailable"
        )
        return Readiness(status=status, prefect=prefect, s3=s3)

    async def _prefect(self) -> Literal["ok", "unavailable", "no deployment"]:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._api.call("GET", f"/deployments/name/{self._deployment}")
        except PrefectRefused:
            return "no deployment"
        except (ProblemError, TimeoutError):
            return "unavailable"
        return "ok"

    async def _s3(self) -> Literal["ok", "unavailable"]:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await (await self._bucket.storage()).head("readyz")
        except (ProblemError, ProVideoError, TimeoutError):
            return "unavailable"
        return "ok"


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
            "description": "Prefect, its deployment or the bucket does not answer.",
            "headers": RETRY_AFTER,
        }
    },
)
async def readyz(
    response: Response, check: Annotated[ReadinessCheck, service(ReadinessCheck)]
) -> Readiness:
    """200 when Prefect with its deployment and the bucket answer; 503 names the failing one."""
    found = await check.result()
    if found.status != "ready":
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return found
