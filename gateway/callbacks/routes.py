"""The routes of the providers' callbacks, which only wake the wait for a job.

The content of a callback is not trusted. Once its signature fits, one Prefect event is emitted with
the provider's job id, and the worker that waits for that job reads the provider's API at once. A
lost, late, repeated or reordered callback therefore changes only the time of that read.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from gateway.app.context import Context, GatewayContext
from gateway.base.problems import ProblemError, problem_responses, unavailable
from gateway.callbacks.body import BodyReader, ClientDisconnect
from gateway.callbacks.replay_cache import Memory
from gateway.callbacks.secrets import ProviderSecrets, open_secrets
from gateway.callbacks.settings import DoorbellSettings
from gateway.prefect_client.api import PrefectRefused
from pro_video.providers.ghostcut import signature as ghostcut_signature
from pro_video.providers.sync_so import signature as sync_so_signature
from tasks.callbacks.event import EVENT, resource_of

logger = logging.getLogger("pro_video.gateway.doorbells")

router = APIRouter(prefix="/doorbells", tags=["doorbells"])

_LONGEST_ID = 128


@dataclass(frozen=True)
class Doorbells:
    """The common resources of an application's callback routes."""

    reader: BodyReader
    secrets: ProviderSecrets
    heard: Memory


def open_doorbells(settings: DoorbellSettings) -> Doorbells:
    """The shared objects, made at the first ring."""
    return Doorbells(
        reader=BodyReader(
            max_bytes=settings.doorbell_max_bytes,
            seconds=settings.doorbell_seconds,
            at_once=settings.doorbells_at_once,
        ),
        secrets=open_secrets(settings),
        heard=Memory(seconds=settings.doorbell_memory_seconds),
    )


def doorbells_of(request: Request) -> Doorbells:
    """The doorbells of the application that handles ``request``."""
    state = request.app.state
    if not hasattr(state, "doorbells"):
        state.doorbells = open_doorbells(DoorbellSettings())
    doorbells = state.doorbells
    assert isinstance(doorbells, Doorbells)
    return doorbells


Bells = Annotated[Doorbells, Depends(doorbells_of)]

_PROBLEMS = problem_responses(400, 403, 408, 413, 503)


def _json_body(example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": True}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/sync-so",
    summary="Sync.so's webhook",
    response_class=Response,
    responses={200: {"description": "Heard."}, **_PROBLEMS},
    openapi_extra=_json_body({"id": "6533643b-aceb-4c40-967e-d9ba9baac39e", "status": "COMPLETED"}),
)
async def sync_so(request: Request, context: Context, bells: Bells) -> Response:
    """For Sync.so alone: a callback signed with the organisation's webhook secret
    (``Sync-Signature``)."""
    body = await _received(request, bells)
    secrets = await bells.secrets.sync_so.get()
    header = request.headers.get(sync_so_signature.HEADER)
    if not sync_so_signature.is_authentic(header, body, secrets, now=time.time()):
        raise _forged("sync-so")
    fields = _fields(body)
    await _ring(context, bells, "sync-so", fields.get("id"), fields.get("status"))
    return _heard()


@router.post(
    "/ghostcut",
    summary="GhostCut's callback",
    response_class=Response,
    responses={200: {"description": "Heard."}, **_PROBLEMS},
    openapi_extra=_json_body({"id": 123456, "processStatus": 1}),
)
async def ghostcut(request: Request, context: Context, bells: Bells) -> Response:
    """For GhostCut alone: a callback signed with the account's app secret
    (``Callback-Sign``)."""
    body = await _received(request, bells)
    secrets = await bells.secrets.ghostcut.get()
    if not ghostcut_signature.is_authentic(
        request.headers.get(ghostcut_signature.HEADER), body, secrets
    ):
        raise _forged("ghostcut")
    fields = _fields(body)
    await _ring(context, bells, "ghostcut", fields.get("id"), fields.get("processStatus"))
    return _heard()


async def _received(request: Request, bells: Doorbells) -> bytes:
    try:
        return await bells.reader.read(request)
    except ClientDisconnect:
        # The client is gone: this response is never read.
        raise ProblemError(400, "gone", "The body did not come whole.") from None


def _heard() -> Response:
    # GhostCut counts an empty body as a failed delivery and calls again for a day.
    return Response("ok", media_type="text/plain")


def _forged(provider: str) -> ProblemError:
    # Not a word about what does not fit: the sender may be guessing.
    logger.warning("Refused a callback of %s whose signature does not fit", provider)
    return ProblemError(403, "signature_refused", "The signature does not fit.")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ProblemError(400, "not_a_callback", "The body is no JSON object.")
    return fields


async def _ring(
    context: GatewayContext, bells: Doorbells, provider: str, raw_id: object, status: object
) -> None:
    job_id = str(raw_id) if isinstance(raw_id, str | int) and raw_id is not True else ""
    if not 0 < len(job_id) <= _LONGEST_ID or not job_id.isprintable():
        raise ProblemError(400, "not_a_callback", "The callback names no job.")
    key = (provider, job_id, str(status)[:_LONGEST_ID])
    if not bells.heard.remember(key):
        return
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": EVENT,
        "resource": resource_of(provider, job_id),
        "related": [],
        "payload": {},
    }
    try:
        await context.api.call("POST", "/events", json=[event])
    except ProblemError:
        bells.heard.forget(key)
        raise
    except PrefectRefused as refused:
        bells.heard.forget(key)
        logger.error("Prefect refused a doorbell's event with %d", refused.status)
        raise unavailable("The job service", retry_after=30) from None
    logger.info("The doorbell of %s rang for %s", provider, job_id)
