"""The vendor's calls. Each takes a `Call` and returns the envelope's body."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.ghostcut.api.endpoint import Call, Reply
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.envelope import BAD_PARAMETER, ID_NOT_EXISTED, RejectedError
from sandbox.ghostcut.files import uploads
from sandbox.ghostcut.rules import statuses
from sandbox.ghostcut.rules.request import read_json_text, read_submission
from sandbox.ghostcut.work import callbacks, lifecycle, points, works
from sandbox.ghostcut.work.work_json import shown_id, work_json
from sandbox.ghostcut.work.works import Work, is_running

MAX_PAGE = 2000
DEFAULT_PAGE = 20


async def create(emulator: Emulator, call: Call) -> Reply:
    """`/work/free` and `/work/fast`: accept one work for each url."""
    submission = read_submission(call.data, emulator.switches)
    path = call.path.rpartition("/")[2]
    made = works.create(emulator, call.account, submission, call.raw, path=path, origin=call.origin)
    for work in made:
        lifecycle.start(emulator, work)
    rows = [{"url": work["url"], "id": shown_id(work, emulator.switches)} for work in made]
    return Reply({"idProject": made[0]["project"], "dataList": rows})


async def status(emulator: Emulator, call: Call) -> Reply:
    """`/work/status`: by work ids, else by project ids, else all; newest first."""
    numbers = _ids(call.data, "idWorks")
    projects = None if numbers is not None else _ids(call.data, "idProjects")
    return _listing(emulator, call, numbers, projects)


async def list_all(emulator: Emulator, call: Call) -> Reply:
    """`/work/list`: all, newest first."""
    return _listing(emulator, call, None, None)


async def delete(emulator: Emulator, call: Call) -> Reply:
    """`/work/delete`: hide works; a running one continues and is charged (assumption)."""
    numbers = _ids(call.data, "idWorks")
    if numbers is None:
        raise RejectedError(BAD_PARAMETER, "idWorks is required")
    for number in numbers:
        if (work := works.owned(emulator, call.account, number)) is not None:
            works.update(emulator, work["id"], deleted=True)
    return Reply(True)


async def redo(emulator: Emulator, call: Call) -> Reply:
    """`/work/video/redo`: run a failed work again, or unlock one that was not paid."""
    work = _owned(emulator, call)
    if work["status"] == statuses.LOCKED and work["result"]:
        return Reply(_unlock(emulator, work))
    if is_running(work) or work["status"] == statuses.SUCCESS:
        return Reply(False)
    lifecycle.start(emulator, works.restart(emulator, work))
    return Reply(True)


async def adjust(emulator: Emulator, call: Call) -> Reply:
    """`/work/video/inpaint/redo`: run a finished work again, with other masks if given."""
    work = _owned(emulator, call)
    masks = read_json_text(call.data, "videoInpaintMasks", list, emulator.switches)
    if is_running(work):
        return Reply(False)
    lifecycle.start(emulator, works.restart(emulator, work, masks=masks, adjust=True))
    return Reply(True)


async def query_points(emulator: Emulator, call: Call) -> Reply:
    """`/point/query`."""
    not_zero, valid = call.data.get("notZero") is True, call.data.get("isValid") is True
    assets = points.assets(emulator, call.account, not_zero=not_zero, valid=valid)
    return Reply({"pointAssets": assets}, count=len(assets))


async def apply_policy(emulator: Emulator, call: Call) -> Reply:
    """`/file/upload/policy/apply`."""
    return Reply(uploads.apply(emulator, call.account, call.data, call.origin))


async def remove_file(emulator: Emulator, call: Call) -> Reply:
    """`/file/remove`."""
    return Reply(uploads.remove(emulator, call.account, call.data))


async def query_enum(emulator: Emulator, call: Call) -> Reply:
    """`/v-w-c/enum/query2`."""
    name = call.data.get("text")
    if not isinstance(name, str):
        raise RejectedError(BAD_PARAMETER, "text is required")
    return Reply(statuses.enum_items(name))


def top_up(emulator: Emulator, account: str, balance: float) -> None:
    """Set the balance; with `unlock_on_top_up` pay for the locked works."""
    points.grant(emulator, account, balance)
    if emulator.switches["unlock_on_top_up"]:
        for work in works.all_works(emulator):
            locked = work["status"] == statuses.LOCKED and work["result"]
            if work["account"] == account and locked:
                _unlock(emulator, work)


def _unlock(emulator: Emulator, work: Work) -> bool:
    unlocked = works.unlock(emulator, work)
    if unlocked is not None:
        callbacks.start(emulator, unlocked)
    return unlocked is not None


def _owned(emulator: Emulator, call: Call) -> Work:
    number = call.data.get("id")
    if not isinstance(number, int | str) or isinstance(number, bool):
        raise RejectedError(BAD_PARAMETER, "id is required")
    work = works.owned(emulator, call.account, number)
    if work is None:
        raise RejectedError(ID_NOT_EXISTED)
    return work


def _listing(emulator: Emulator, call: Call, numbers: Any, projects: Any) -> Reply:
    since = _integer(call.data, "createTimeGreaterThanOrEqualTo")
    until = _integer(call.data, "createTimeLessThan")
    found = [
        work
        for work in works.find(emulator, call.account, numbers, projects)
        if (since is None or int(work["created"] * 1000) >= since)
        and (until is None or int(work["created"] * 1000) < until)
    ]
    page = paged(found, _integer(call.data, "page"), _integer(call.data, "pageSize"))
    if call.fault.kind == "empty":
        return Reply({"content": [], "count": 0})
    unknown = call.fault.kind == "unknown_status"
    status = int(call.fault.number("status", 777)) if unknown else None
    rows = [work_json(work, emulator.switches, call.origin, status) for work in page]
    return Reply({"content": rows, "count": len(found)})


def paged(items: Sequence[Work], page: int | None, size: int | None) -> Sequence[Work]:
    """One page, counted from 0; without a page number all. Sizes are cut at MAX_PAGE."""
    if page is None:
        return items
    size = min(max(1, DEFAULT_PAGE if size is None else size), MAX_PAGE)
    start = max(0, page) * size
    return items[start : start + size]


def _ids(data: Mapping[str, Any], field: str) -> Any:
    """Ids as texts; None when the field is absent, null or an empty list, which then lists all."""
    values = data.get(field)
    if values is None or values == []:
        return None
    if not isinstance(values, list) or any(
        isinstance(value, bool) or not isinstance(value, int | str) for value in values
    ):
        raise RejectedError(BAD_PARAMETER, f"{field} must be a list of ids")
    return [str(value) for value in values]


def _integer(data: Mapping[str, Any], field: str) -> int | None:
    value = data.get(field)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise RejectedError(BAD_PARAMETER, f"{field} must be an integer")
