"""POST /v2/generate: from bytes to an accepted generation, once per idempotency key."""

import asyncio
import json
import shutil
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.common.media_pool import WorkerDiedError
from sandbox.sync_so.api import assets, idempotency
from sandbox.sync_so.api.endpoint import concurrency_limited, under_fault
from sandbox.sync_so.api.request_body import CreateBody, read_create
from sandbox.sync_so.emulator import ACTIVE, GENERATION, Emulator, Record, iso
from sandbox.sync_so.files import uploads
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.request import check_request
from sandbox.sync_so.rules.tables import PLANS
from sandbox.sync_so.work import lifecycle
from sandbox.sync_so.work.generation_json import generation_json
from sandbox.sync_so.work.inputs import InputError, prepare


async def create(emulator: Emulator, request: Request) -> Response:
    """Accept a generation, under a fault for `create`."""
    body = await read_create(request)
    key = idempotency.key_of(request, emulator)
    facts = {"idempotency_key": request.headers.get("idempotency-key")}
    if isinstance(body.value, dict):
        facts["reference"] = body.value.get("outputFileName")
        facts["model"] = body.value.get("model")
    fault = emulator.faults.take("create", **facts)

    async def accept() -> Response:
        try:
            return await _accept_once(emulator, request, body, key)
        except ApiError as error:
            if error.code == idempotency.CONFLICT:
                emulator.store.counter("idempotency conflicts")
            raise

    if fault is None or fault.kind != "idempotency_unknown":
        return await under_fault(emulator, request, fault, accept)
    members: dict[str, Any] = {}
    if fault.params.get("when") == "after":
        accepted = await accept()
        if fault.params.get("with_id", True):
            members["generationId"] = json.loads(bytes(accepted.body))["id"]
    status = int(fault.number("status", 503))
    code = fault.text("code", "IDEMPOTENCY_OUTCOME_UNKNOWN")
    raise ApiError(status, "The outcome is not known", code, **members)


async def _accept_once(
    emulator: Emulator, request: Request, body: CreateBody, key: str | None
) -> Response:
    if key is None:
        return await _accept(emulator, request, body, None)
    lock = emulator.creating.setdefault(key, asyncio.Lock())
    if lock.locked() and emulator.switches["duplicate_in_flight"] == "conflict":
        message = "A request with this Idempotency-Key is running"
        raise ApiError(409, message, "IDEMPOTENCY_IN_PROGRESS")
    async with lock:
        return await _accept(emulator, request, body, key)


async def _accept(
    emulator: Emulator, request: Request, body: CreateBody, key: str | None
) -> Response:
    base = emulator.base_url(request)
    fingerprint = body.fingerprint
    with emulator.store.transaction():
        if (known := _replay(emulator, key, fingerprint)) is not None:
            return JSONResponse(generation_json(emulator, known, base), 201)
    if delay := emulator.switches["accept_seconds"]:
        await asyncio.sleep(delay)
    _store_files(emulator, body, base)
    wanted, refusal = check_request(body.value, emulator.switches)
    _check_assets(emulator, wanted)
    if refusal is not None and emulator.switches["segment_errors"] == "sync":
        raise invalid(refusal, "segments", "generation_input_segments_invalid")
    id = str(uuid.uuid4())
    if emulator.switches["media_errors"] == "sync" and refusal is None:
        await _check_media(emulator, wanted, id)
    now = time.time()
    record: Record = {
        "id": id,
        "created": now,
        "createdAt": iso(now),
        "status": "PENDING",
        "request": wanted,
        "refused": refusal,
        "idempotencyKey": request.headers.get("idempotency-key"),
        "baseUrl": base,
        "billed": 0,
        "framesBilled": 0,
    }
    with emulator.store.transaction():
        # Other requests came between: the key may be bound now, the slots taken.
        if (known := _replay(emulator, key, fingerprint)) is not None:
            return JSONResponse(generation_json(emulator, known, base), 201)
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
    response = JSONResponse(generation_json(emulator, record, base), 201)
    lifecycle.start(emulator, id)
    return response


def _replay(emulator: Emulator, key: str | None, fingerprint: str) -> Record | None:
    known = idempotency.recall(emulator, key, fingerprint) if key is not None else None
    if known is not None:
        emulator.store.counter("replayed")
    return known


def _store_files(emulator: Emulator, body: CreateBody, base_url: str) -> None:
    """Make inputs of the files of a multipart body, as if they had been uploaded before."""
    if not body.files or not isinstance(body.value, dict):
        return
    inputs = [
        {"type": part.kind, "url": uploads.keep(emulator, part, base_url)} for part in body.files
    ]
    given = body.value.get("input")
    body.value = {**body.value, "input": inputs + (given if isinstance(given, list) else [])}


def _check_assets(emulator: Emulator, wanted: dict[str, Any]) -> None:
    for item in wanted["input"]:
        if item.get("assetId") is not None:
            asset = assets.find(emulator, item["assetId"])
            if asset["type"] != item["type"].upper():
                code = "generation_input_asset_type_mismatch"
                raise invalid(f"the asset is of type {asset['type']}", "input", code)


def _check_concurrency(emulator: Emulator) -> None:
    limit = emulator.switches["concurrency_limit"]
    if limit is None:
        limit = PLANS[emulator.switches["plan"]].concurrency
    if limit is None:
        return
    active = sum(record["status"] in ACTIVE for record in emulator.store.all(GENERATION))
    if active >= limit:
        raise concurrency_limited(emulator, active, int(limit))


async def _check_media(emulator: Emulator, wanted: dict[str, Any], id: str) -> None:
    """Fetch and check the inputs before the generation is accepted."""
    try:
        await prepare(emulator, wanted, emulator.folder(id))
    except InputError as error:
        await asyncio.to_thread(shutil.rmtree, emulator.folder(id), ignore_errors=True)
        raise ApiError(error.status, str(error), error.code, field="input") from error
    except WorkerDiedError as error:
        code = "generation_media_probe_unavailable"
        raise ApiError(503, "the inputs could not be probed", code) from error
