"""POST /v2/generate: from bytes to an accepted generation, once per idempotency key."""

import asyncio
import json
import shutil
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.http_faults import answer
from sandbox.common.media_pool import WorkerDiedError
from sandbox.sync_so.api import assets, idempotency
from sandbox.sync_so.api.request_body import Body, read_body
from sandbox.sync_so.emulator import GENERATION, Emulator, Record, iso
from sandbox.sync_so.files import uploads
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.request import check_request
from sandbox.sync_so.rules.tables import PLANS
from sandbox.sync_so.work import lifecycle as jobs
from sandbox.sync_so.work.generation_json import view
from sandbox.sync_so.work.inputs import InputProblem, prepare

_ASSET_TYPES = {"video": "VIDEO", "audio": "AUDIO", "image": "IMAGE"}


def create_routes(emulator: Emulator) -> list[Route]:
    """The one route, for JSON and multipart alike."""
    in_flight: dict[str, asyncio.Lock] = {}

    async def create(request: Request) -> Response:
        refusal = emulator.authenticate(request)
        if refusal is not None:
            return refusal
        try:
            return await _create(emulator, request, in_flight)
        except ApiError as error:
            return error.response(emulator.switches["message_style"])

    return [Route("/v2/generate", create, methods=["POST"])]


async def _create(
    emulator: Emulator, request: Request, in_flight: dict[str, asyncio.Lock]
) -> Response:
    emulator.check_rate(request)
    body = await read_body(request)
    key = idempotency.key_of(request, emulator)
    facts = {"idempotency_key": request.headers.get("idempotency-key")}
    if isinstance(body.value, dict):
        facts["reference"] = body.value.get("outputFileName")
        facts["model"] = body.value.get("model")

    async def accept() -> Response:
        try:
            return await _accept(emulator, request, body, key, in_flight)
        except ApiError as error:
            if error.code == idempotency.CONFLICT:
                emulator.store.counter("idempotency conflicts")
            return error.response(emulator.switches["message_style"])

    fault = emulator.faults.take("create", **facts)
    if fault is None or fault.kind != "idempotency_unknown":
        return await answer(request.scope, fault, accept, emulator.shapes())
    members: dict[str, Any] = {}
    if fault.params.get("when") == "after":
        accepted = await accept()
        if accepted.status_code != 201:
            return accepted
        if fault.params.get("with_id", True):
            members["generationId"] = json.loads(bytes(accepted.body))["id"]
    status = int(fault.number("status", 503))
    code = fault.text("code", "IDEMPOTENCY_OUTCOME_UNKNOWN")
    raise ApiError(status, "The outcome is not known", code, headers=None, **members)


async def _accept(
    emulator: Emulator,
    request: Request,
    body: Body,
    key: str | None,
    in_flight: dict[str, asyncio.Lock],
) -> Response:
    if key is None:
        return await _accept_alone(emulator, request, body, None)
    lock = in_flight.setdefault(key, asyncio.Lock())
    if lock.locked() and emulator.switches["duplicate_in_flight"] == "conflict":
        raise ApiError(
            409, "A request with this Idempotency-Key is running", "IDEMPOTENCY_IN_PROGRESS"
        )
    async with lock:
        response = await _accept_alone(emulator, request, body, key)
    # Waiting requests still hold the lock object; only the table drops it.
    if not lock.locked():
        in_flight.pop(key, None)
    return response


async def _accept_alone(
    emulator: Emulator, request: Request, body: Body, key: str | None
) -> Response:
    base = emulator.base_url(request)
    fingerprint = body.fingerprint
    with emulator.store.transaction():
        if (known := _replay(emulator, key, fingerprint)) is not None:
            return JSONResponse(view(emulator, known, base), 201)
    delay = emulator.switches["accept_seconds"]
    if delay:
        await asyncio.sleep(delay)
    _with_uploads(emulator, body, base)
    wanted, refused = check_request(body.value, emulator.switches)
    _check_assets(emulator, wanted)
    if refused is not None and emulator.switches["segment_errors"] == "sync":
        raise invalid(refused, "segments", "generation_input_segments_invalid")
    id = str(uuid.uuid4())
    if emulator.switches["media_errors"] == "sync" and refused is None:
        await _look_first(emulator, wanted, id)
    now = time.time()
    record: Record = {
        "id": id,
        "created": now,
        "createdAt": iso(now),
        "status": "PENDING",
        "request": wanted,
        "refused": refused,
        "idempotencyKey": request.headers.get("idempotency-key"),
        "baseUrl": base,
        "billed": 0,
        "framesBilled": 0,
    }
    with emulator.store.transaction():
        # Asked again: the answer may have changed while the inputs were looked at.
        if (known := _replay(emulator, key, fingerprint)) is not None:
            return JSONResponse(view(emulator, known, base), 201)
        _check_concurrency(emulator)
        fault = emulator.faults.take(
            "job",
            reference=wanted.get("outputFileName"),
            idempotency_key=record["idempotencyKey"],
            model=wanted["model"],
        )
        if fault is not None:
            record["fault"] = fault.describe()
            record["extra_fields"] = fault.kind == "extra_fields"
        emulator.store.put(GENERATION, id, record)
        if key is not None:
            idempotency.bind(emulator, key, fingerprint, id)
    shown = view(emulator, record, base)
    jobs.start(emulator, id)
    return JSONResponse(shown, 201)


def _replay(emulator: Emulator, key: str | None, fingerprint: str) -> Record | None:
    known = idempotency.recall(emulator, key, fingerprint) if key is not None else None
    if known is not None:
        emulator.store.counter("replayed")
    return known


def _with_uploads(emulator: Emulator, body: Body, base_url: str) -> None:
    """Turn the file parts of a multipart body into inputs, as if they had been uploaded before."""
    if not body.uploads or not isinstance(body.value, dict):
        return
    inputs = [
        {"type": part.kind, "url": uploads.keep(emulator, part, base_url)} for part in body.uploads
    ]
    given = body.value.get("input")
    body.value = {**body.value, "input": inputs + (given if isinstance(given, list) else [])}


def _check_assets(emulator: Emulator, wanted: dict[str, Any]) -> None:
    for item in wanted["input"]:
        if item.get("assetId") is not None:
            asset = assets.find(emulator, item["assetId"])
            if asset["type"] != _ASSET_TYPES[item["type"]]:
                raise invalid(
                    f"the asset is of type {asset['type']}",
                    "input",
                    "generation_input_asset_type_mismatch",
                )


def _check_concurrency(emulator: Emulator) -> None:
    limit = emulator.switches["concurrency_limit"]
    if limit is None:
        limit = PLANS[emulator.switches["plan"]].concurrency
    if limit is None:
        return
    active = emulator.active_count()
    if active >= limit:
        raise emulator.concurrency_error(active, int(limit))


async def _look_first(emulator: Emulator, wanted: dict[str, Any], id: str) -> None:
    """The switch `media_errors: sync`: the inputs are refused before anything is accepted."""
    try:
        await prepare(emulator, wanted, emulator.folder(id))
    except InputProblem as problem:
        await asyncio.to_thread(shutil.rmtree, emulator.folder(id), ignore_errors=True)
        raise ApiError(problem.status, str(problem), problem.code, field="input") from problem
    except WorkerDiedError as error:
        raise ApiError(
            503, "the inputs could not be looked at", "generation_media_probe_unavailable"
        ) from error
