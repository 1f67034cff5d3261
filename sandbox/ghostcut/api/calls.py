"""The vendor's calls. Each takes a `Call` and returns the envelope's body."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.ghostcut.api.endpoint import Call, Reply
from sandbox.ghostcut.envelope import BAD_PARAMETER, ID_NOT_EXISTED, RejectedError
from sandbox.ghostcut.files.uploads import Uploads
from sandbox.ghostcut.rules import statuses
from sandbox.ghostcut.rules.request import read_json_text, read_submission
from sandbox.ghostcut.switches import Switches
from sandbox.ghostcut.work.callbacks import Callbacks
from sandbox.ghostcut.work.lifecycle import Runner
from sandbox.ghostcut.work.points import Points
from sandbox.ghostcut.work.work_json import row
from sandbox.ghostcut.work.works import Work, WorkBook, is_running

MAX_PAGE = 2000
DEFAULT_PAGE = 20


class Api:
    """Handlers of all signed calls, and of the unsigned enum query."""

    def __init__(
        self,
        book: WorkBook,
        runner: Runner,
        callbacks: Callbacks,
        points: Points,
        uploads: Uploads,
        switches: Switches,
    ) -> None:
        self._book = book
        self._runner = runner
        self._callbacks = callbacks
        self._points = points
        self._uploads = uploads
        self._switches = switches

    async def create(self, call: Call) -> Reply:
        """`/work/free` and `/work/fast`: accept one work for each url."""
        submission = read_submission(call.data, self._switches)
        path = call.path.rpartition("/")[2]
        works = self._book.create(call.account, submission, call.raw, path=path, origin=call.origin)
        for work in works:
            self._runner.start(work)
        rows = [{"url": work["url"], "id": self._id(work)} for work in works]
        return Reply({"idProject": works[0]["project"], "dataList": rows})

    async def status(self, call: Call) -> Reply:
        """`/work/status`: by work ids, else by project ids, else everything; newest first."""
        works = _ids(call.data, "idWorks")
        projects = None if works is not None else _ids(call.data, "idProjects")
        return self._listing(call, works, projects)

    async def list(self, call: Call) -> Reply:
        """`/work/list`: everything, newest first."""
        return self._listing(call, None, None)

    async def delete(self, call: Call) -> Reply:
        """`/work/delete`: hide works; a running one goes on and is charged (assumption)."""
        numbers = _ids(call.data, "idWorks")
        if numbers is None:
            raise RejectedError(BAD_PARAMETER, "idWorks is required")
        for number in numbers:
            if (work := self._book.owned(call.account, number)) is not None:
                self._book.update(work["id"], deleted=True)
        return Reply(True)

    async def redo(self, call: Call) -> Reply:
        """`/work/video/redo`: run a failed work again, or unlock one that was not paid."""
        work = self._owned(call)
        if work["status"] == statuses.LOCKED and work["result"]:
            return Reply(self._unlock(work))
        if is_running(work) or work["status"] == statuses.SUCCESS:
            return Reply(False)
        self._runner.start(self._book.restart(work))
        return Reply(True)

    async def adjust(self, call: Call) -> Reply:
        """`/work/video/inpaint/redo`: run a finished work again, with other masks if given."""
        work = self._owned(call)
        masks = read_json_text(call.data, "videoInpaintMasks", list, self._switches)
        if is_running(work):
            return Reply(False)
        self._runner.start(self._book.restart(work, masks=masks, adjust=True))
        return Reply(True)

    async def points(self, call: Call) -> Reply:
        """`/point/query`."""
        assets = self._points.assets(
            call.account,
            not_zero=call.data.get("notZero") is True,
            valid=call.data.get("isValid") is True,
        )
        return Reply({"pointAssets": assets}, count=len(assets))

    async def policy(self, call: Call) -> Reply:
        """`/file/upload/policy/apply`."""
        return Reply(self._uploads.apply(call.account, call.data, call.origin))

    async def remove(self, call: Call) -> Reply:
        """`/file/remove`."""
        return Reply(self._uploads.remove(call.account, call.data))

    async def enum(self, call: Call) -> Reply:
        """`/v-w-c/enum/query2`."""
        name = call.data.get("text")
        if not isinstance(name, str):
            raise RejectedError(BAD_PARAMETER, "text is required")
        return Reply(statuses.enum_items(name))

    def top_up(self, account: str, balance: float) -> None:
        """Set the balance; with `unlock_on_top_up` pay for what was locked."""
        self._points.set(account, balance)
        if self._switches.unlock_on_top_up:
            for work in self._book.all():
                locked = work["status"] == statuses.LOCKED and work["result"]
                if work["account"] == account and locked:
                    self._unlock(work)

    def _unlock(self, work: Work) -> bool:
        unlocked = self._book.unlock(work)
        if unlocked is None:
            return False
        self._callbacks.start(unlocked)
        return True

    def _owned(self, call: Call) -> Work:
        number = call.data.get("id")
        if not isinstance(number, int | str) or isinstance(number, bool):
            raise RejectedError(BAD_PARAMETER, "id is required")
        work = self._book.owned(call.account, number)
        if work is None:
            raise RejectedError(ID_NOT_EXISTED)
        return work

    def _listing(self, call: Call, works: Any, projects: Any) -> Reply:
        found: Sequence[Work] = self._book.find(call.account, works, projects)
        since = _integer(call.data, "createTimeGreaterThanOrEqualTo")
        until = _integer(call.data, "createTimeLessThan")
        if since is not None:
            found = [work for work in found if int(work["created"] * 1000) >= since]
        if until is not None:
            found = [work for work in found if int(work["created"] * 1000) < until]
        total = len(found)
        found = paged(found, _integer(call.data, "page"), _integer(call.data, "pageSize"))
        status = None
        kind = call.fault.kind if call.fault else ""
        if call.fault is not None and kind == "unknown_status":
            status = int(call.fault.number("status", 777))
        if kind == "empty":
            found, total = (), 0
        rows = [row(work, self._switches, origin=call.origin, status=status) for work in found]
        return Reply({"content": rows, "count": total})

    def _id(self, work: Work) -> int | str:
        return str(work["id"]) if self._switches.ids_as_strings else int(work["id"])


def paged(items: Sequence[Work], page: int | None, size: int | None) -> Sequence[Work]:
    """One page, counted from 0; without a page number everything. Sizes are cut at MAX_PAGE."""
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
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise RejectedError(BAD_PARAMETER, f"{field} must be an integer")
    return value
