"""Reading generations: one, many, their number, the link to a result; and deleting one."""

import asyncio
import math
import shutil

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from sandbox.common.faults import NO_FAULT
from sandbox.sync_so.api.query import flag, page_limit, words
from sandbox.sync_so.emulator import ACTIVE, GENERATION, Emulator, Record
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.request import is_uuid
from sandbox.sync_so.work.generation_json import generation_json, progress, result_url

STATUSES = ("PENDING", "PROCESSING", "COMPLETED", "FAILED", "REJECTED")


async def read(emulator: Emulator, request: Request) -> Response:
    """One generation, at once or, with `wait`, when it has ended."""
    record = _find(emulator, request)
    wait, include = flag(request, "wait"), request.query_params.get("include")
    if include not in (None, "progress"):
        raise invalid("include must be: progress")
    if wait and include:
        raise invalid("include=progress cannot be combined with wait")
    seconds = _timeout(request.query_params.get("timeout", "5"))
    headers: dict[str, str] = {}
    if wait:
        await emulator.wait_for_end(record["id"], seconds)
        record = _find(emulator, request)
        headers = {
            "Retry-After": "2",
            "X-Sync-Wait-Mode": "long_poll",
            "X-Sync-Wait-Timeout-Seconds": f"{seconds:g}",
        }
    body = generation_json(emulator, record, emulator.base_url(request))
    if include == "progress":
        body["progress_percent"] = progress(record)
    fault = request.state.fault or NO_FAULT
    if fault.kind == "unknown_status":
        body["status"] = fault.text("status", "CANCELED")
    return JSONResponse(body, headers=headers)


async def list_all(emulator: Emulator, request: Request) -> Response:
    """The generations that fit the filters, in pages and newest first if `limit` is given."""
    found = _filtered(emulator, request)
    limit, cursor = page_limit(request), request.query_params.get("cursor")
    if cursor:
        if limit is None:
            raise invalid("cursor requires limit")
        # The generation of the cursor need not fit the filters any more.
        ids = [record["id"] for record in emulator.store.all(GENERATION, newest_first=True)]
        if cursor not in ids:
            raise invalid("cursor does not name a generation")
        older = set(ids[ids.index(cursor) + 1 :])
        found = [record for record in found if record["id"] in older]
    if limit is None:
        # The vendor promises no order here; by id is one that no caller relies on.
        found.sort(key=lambda record: str(record["id"]))
    base = emulator.base_url(request)
    return JSONResponse([generation_json(emulator, record, base) for record in found[:limit]])


async def count(emulator: Emulator, request: Request) -> Response:
    """The number of generations that fit the filters; the playground has none."""
    kind = request.query_params.get("type")
    if kind not in (None, "api", "playground"):
        raise invalid("type must be one of: playground, api")
    found = _filtered(emulator, request) if kind != "playground" else []
    return JSONResponse({"count": len(found)})


async def download_link(emulator: Emulator, request: Request) -> Response:
    """The link to the result as plain text."""
    record = _find(emulator, request)
    if record["status"] != "COMPLETED":
        raise ApiError(409, "the generation is not completed", "generation_conflict")
    base = emulator.base_url(request)
    return PlainTextResponse(result_url(emulator, record["id"], "output", base))


async def delete(emulator: Emulator, request: Request) -> Response:
    """Remove a generation that has ended; its record stays for the audit."""
    record = _find(emulator, request)
    if record["status"] in ACTIVE:
        code = "generation_not_deletable_while_processing"
        raise ApiError(409, "the generation is still active", code)
    body = generation_json(emulator, record, emulator.base_url(request))
    emulator.change(record["id"], deleted=True)
    await asyncio.to_thread(shutil.rmtree, emulator.folder(record["id"]), ignore_errors=True)
    return JSONResponse(body)


def _find(emulator: Emulator, request: Request) -> Record:
    id = request.path_params["id"]
    if not is_uuid(id):
        raise ApiError(400, "the generation id is not valid", "invalid_generation_id")
    record = emulator.generation(id.lower())
    if record is None or record.get("deleted"):
        raise ApiError(404, "the generation does not exist", "generation_not_found")
    return record


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 10:
        raise invalid("timeout must be a number from 1 to 10")
    return seconds


def _filtered(emulator: Emulator, request: Request) -> list[Record]:
    statuses, ids = words(request, "status", STATUSES), words(request, "ids")
    # Every generation here came through the API and belongs to no project.
    query = request.query_params
    sources = {query.get("source"), query.get("generationSource")} - {None, "", "api"}
    if query.get("projectId") or sources:
        return []
    return [
        record
        for record in emulator.store.all(GENERATION, newest_first=True)
        if not record.get("deleted")
        and (not statuses or record["status"] in statuses)
        and (not ids or record["id"] in ids)
    ]
