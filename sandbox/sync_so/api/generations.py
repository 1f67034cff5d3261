"""Reading generations: one, many, how many, the download link; and removing one."""

import math
import shutil
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox.common.faults import Fault
from sandbox.sync_so.api.query import page_limit, truth
from sandbox.sync_so.emulator import ACTIVE, GENERATION, Emulator, Record, json_reply
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.request import is_uuid
from sandbox.sync_so.work.generation_json import progress, result_url, view

STATUSES = ("PENDING", "PROCESSING", "COMPLETED", "FAILED", "REJECTED")


def reading_routes(emulator: Emulator) -> list[Route]:
    """The routes under /v2/generations, and the older path of a single one."""

    async def one(request: Request) -> Response:
        record = find(emulator, request.path_params["id"])
        query = request.query_params
        wait = truth(query.get("wait"), "wait")
        include = query.get("include")
        if include not in (None, "progress"):
            raise invalid("include must be: progress")
        if wait and include:
            raise invalid("include=progress cannot be combined with wait")
        seconds = _timeout(query.get("timeout"))
        headers: dict[str, str] = {}
        if wait:
            await emulator.wait_for_end(record["id"], seconds)
            record = find(emulator, record["id"])
            headers = {
                "Retry-After": "2",
                "X-Sync-Wait-Mode": "long_poll",
                "X-Sync-Wait-Timeout-Seconds": f"{seconds:g}",
            }
        body = view(emulator, record, emulator.base_url(request))
        if include == "progress":
            body["progress_percent"] = progress(record)
        fault: Fault | None = request.state.fault
        if fault is not None and fault.kind == "unknown_status":
            body["status"] = fault.text("status", "CANCELED")
        return json_reply(body, headers=headers)

    async def listing(request: Request) -> Response:
        found = _filtered(emulator, request)
        limit, cursor = page_limit(request.query_params.get("limit")), _cursor(request)
        if limit is None:
            if cursor is not None:
                raise invalid("cursor requires limit")
            # Without a limit the vendor promises no order; by id is one that nobody relies on.
            found.sort(key=lambda record: str(record["id"]))
        else:
            if cursor is not None:
                found = _after(emulator, found, cursor)
            found = found[:limit]
        base = emulator.base_url(request)
        return json_reply([view(emulator, record, base) for record in found])

    async def count(request: Request) -> Response:
        kind = request.query_params.get("type")
        if kind not in (None, "api", "playground"):
            raise invalid("type must be one of: playground, api")
        found = _filtered(emulator, request) if kind != "playground" else []
        return json_reply({"count": len(found)})

    async def link(request: Request) -> Response:
        record = find(emulator, request.path_params["id"])
        if record["status"] != "COMPLETED":
            raise ApiError(409, "the generation is not completed", "generation_conflict")
        url = result_url(emulator, record["id"], "output", emulator.base_url(request))
        return PlainTextResponse(url)

    async def delete(request: Request) -> Response:
        record = find(emulator, request.path_params["id"])
        if record["status"] in ACTIVE:
            raise ApiError(
                409,
                "the generation is still active",
                "generation_not_deletable_while_processing",
            )
        body = view(emulator, record, emulator.base_url(request))
        # The record stays for the audit; only the API and the disk forget it.
        emulator.change(record["id"], deleted=True)
        shutil.rmtree(emulator.folder(record["id"]), ignore_errors=True)
        return json_reply(body)

    return [
        emulator.endpoint("/v2/generations", "list", listing),
        emulator.endpoint("/v2/generations/count", "count", count),
        emulator.endpoint("/v2/generations/{id}/download", "link", link),
        emulator.endpoint("/v2/generate/{id}", "status", one),
        emulator.endpoint("/v2/generations/{id}", "status", one),
        emulator.endpoint("/v2/generations/{id}", "delete", delete, methods=["DELETE"]),
    ]


def find(emulator: Emulator, id: str) -> Record:
    """The record of a generation; ApiError 400 or 404."""
    if not is_uuid(id):
        raise ApiError(400, "the generation id is not valid", "invalid_generation_id")
    record = emulator.generation(id.lower())
    if record is None or record.get("deleted"):
        raise ApiError(404, "the generation does not exist", "generation_not_found")
    return record


def _timeout(text: str | None) -> float:
    if text is None:
        return 5.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 10:
        raise invalid("timeout must be a number from 1 to 10")
    return seconds


def _filtered(emulator: Emulator, request: Request) -> list[Record]:
    query = request.query_params
    statuses = _words(query.getlist("status"))
    if unknown := statuses - set(STATUSES):
        raise invalid(f"status: {sorted(unknown)[0]} does not exist")
    ids = _words(query.getlist("ids"))
    # All that there is came through the API and belongs to no project.
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


def _after(emulator: Emulator, found: list[Record], cursor: str) -> list[Record]:
    """The generations older than the cursor's, which need not fit the filter any more."""
    last = emulator.generation(cursor)
    if last is None:
        raise invalid("cursor does not name a generation")
    order: dict[Any, int] = {
        record["id"]: place for place, record in enumerate(emulator.store.all(GENERATION))
    }
    return [record for record in found if order[record["id"]] < order[last["id"]]]


def _cursor(request: Request) -> str | None:
    return request.query_params.get("cursor") or None


def _words(given: list[str]) -> set[str]:
    return {word for text in given for word in text.split(",") if word}
