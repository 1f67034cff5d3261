"""The routes of the providers' callbacks, which only wake a waiting task.

The content of a callback is not trusted. When its signature is valid, one Prefect event with the
provider's job id is emitted, and the worker that waits for that job reads the provider's API at
once. A lost, late, repeated or reordered callback therefore changes only the time of that read.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Annotated, Any

from cachetools import TTLCache
from fastapi import APIRouter, Request, Response

from gateway.base.json_body import read_body
from gateway.base.problems import ProblemError, problem_responses, unavailable
from gateway.base.services import service
from gateway.base.settings import GatewaySettings
from gateway.callbacks.secrets import ProviderSecrets
from gateway.prefect_client.api import PrefectApi, PrefectRefused
from pro_video.providers.ghostcut import signature as ghostcut_signature
from pro_video.providers.sync_so import signature as sync_so_signature
from tasks.callbacks.event import EVENT, resource_of

logger = logging.getLogger("pro_video.gateway.callbacks")

router = APIRouter(prefix="/doorbells", tags=["doorbells"])

_LONGEST_ID = 128
# Callbacks that are remembered as handled; the oldest are dropped first.
_RECENT = 20_000


class CallbackHandler:
    """The shared objects of the callback routes.

    Args:
        settings: the bounds of callbacks (``doorbell…``).
        api: Prefect, which takes the events.
        secrets: check the signatures.
    """

    def __init__(
        self, settings: GatewaySettings, api: PrefectApi, secrets: ProviderSecrets
    ) -> None:
        self.secrets = secrets
        self._settings = settings
        self._api = api
        self._receiving = 0
        self._recent: TTLCache[Hashable, None] = TTLCache(
            _RECENT, ttl=settings.doorbell_memory_seconds
        )

    async def read(self, request: Request) -> bytes:
        """The raw body.

        Raises:
            ProblemError: 400, 408 or 413, or 503 while too many are being received.
        """
        if self._receiving >= self._settings.doorbells_at_once:
            message = "Too many callbacks are being received. Send it again later."
            raise ProblemError(503, "busy", message, retry_after=5)
        self._receiving += 1
        try:
            return await read_body(
                request,
                max_bytes=self._settings.doorbell_max_bytes,
                seconds=self._settings.doorbell_seconds,
                too_large="too_large",
            )
        finally:
            self._receiving -= 1

    async def wake(self, provider: str, raw_id: object, status: object) -> Response:
        """Emit the event that wakes the task of a provider's job, once for each status.

        Raises:
            ProblemError: 400 without the id of a job, 503 when Prefect is away.
        """
        job_id = str(raw_id) if isinstance(raw_id, str | int) and raw_id is not True else ""
        if not 0 < len(job_id) <= _LONGEST_ID or not job_id.isprintable():
            raise ProblemError(400, "not_a_callback", "The callback has no id of a job.")
        key = (provider, job_id, str(status)[:_LONGEST_ID])
        if key not in self._recent:
            self._recent[key] = None
            event = {
                "id": str(uuid.uuid4()),
                "occurred": datetime.now(UTC).isoformat(),
                "event": EVENT,
                "resource": resource_of(provider, job_id),
                "related": [],
                "payload": {},
            }
            try:
                await self._api.call("POST", "/events", json=[event])
            except ProblemError:
                self._recent.pop(key, None)
                raise
            except PrefectRefused as refused:
                self._recent.pop(key, None)
                logger.error("Prefect refused the event of a callback with %d", refused.status)
                raise unavailable("The job service", retry_after=30) from None
            logger.info("Callback of %s for job %s", provider, job_id)
        # GhostCut counts an empty body as a failed delivery and repeats the callback for a day.
        return Response("ok", media_type="text/plain")


Handler = Annotated[CallbackHandler, service(CallbackHandler)]

_PROBLEMS = problem_responses(400, 403, 408, 413, 503)


def _json_body(example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": True}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/sync-so",
    summary="Sync.so's webhook",
    response_class=Response,
    responses={200: {"description": "Accepted, now or before."}, **_PROBLEMS},
    openapi_extra=_json_body({"id": "6533643b-aceb-4c40-967e-d9ba9baac39e", "status": "COMPLETED"}),
)
async def sync_so(request: Request, handler: Handler) -> Response:
    """For Sync.so only: a callback signed with the organisation's webhook secret
    (``Sync-Signature``)."""
    body = await handler.read(request)
    secrets = await handler.secrets.sync_so.get()
    header = request.headers.get(sync_so_signature.HEADER)
    if not sync_so_signature.is_authentic(header, body, secrets, now=time.time()):
        raise _forged("sync-so")
    fields = _fields(body)
    return await handler.wake("sync-so", fields.get("id"), fields.get("status"))


@router.post(
    "/ghostcut",
    summary="GhostCut's callback",
    response_class=Response,
    responses={200: {"description": "Accepted, now or before."}, **_PROBLEMS},
    openapi_extra=_json_body({"id": 123456, "processStatus": 1}),
)
async def ghostcut(request: Request, handler: Handler) -> Response:
    """For GhostCut only: a callback signed with the account's app secret
    (``Callback-Sign``)."""
    body = await handler.read(request)
    secrets = await handler.secrets.ghostcut.get()
    if not ghostcut_signature.is_authentic(
        request.headers.get(ghostcut_signature.HEADER), body, secrets
    ):
        raise _forged("ghostcut")
    fields = _fields(body)
    return await handler.wake("ghostcut", fields.get("id"), fields.get("processStatus"))


def _forged(provider: str) -> ProblemError:
    # The response has no reason: the sender may be guessing.
    logger.warning("Refused a callback of %s with an invalid signature", provider)
    return ProblemError(403, "signature_refused", "The signature is not valid.")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ProblemError(400, "not_a_callback", "The body is not a JSON object.")
    return fields
