"""A work as the vendor shows it: one row of `/work/status`, and the body of a callback.

Source: vendor docs, samples of "status" and "callback".
"""

import time
from typing import Any

from sandbox.common.settings import SwitchBoard
from sandbox.ghostcut.rules import statuses
from sandbox.ghostcut.work.works import Work, is_running

_FETCHED = 15.0
"""Progress in percent where processing proper begins."""


def work_json(
    work: Work, switches: SwitchBoard, origin: str, status: int | None = None
) -> dict[str, Any]:
    """The row; `origin` is the base of its link, `status` replaces the true one."""
    fault = work["fault"] or {}
    if status is None and fault.get("kind") == "unknown_status" and is_running(work):
        status = int(fault.get("status", -9))
    value = work["status"] if status is None else status
    row: dict[str, Any] = {
        "id": shown_id(work, switches),
        "idProject": work["project"],
        "url": work["url"].partition("?")[0] if switches["strip_url_query"] else work["url"],
        "processStatus": value,
        "processProgress": progress(work),
        "paidPoint": work["paid"],
        "duration": work["duration"],
        "fileSize": work["size"],
        "sourceLang": "",
        "lang": "",
        "srcSrtUrl": "",
        "tgtSrtUrl": "",
        "createTime": int(work["created"] * 1000),
        "lastUpdateTime": int(work["updated"] * 1000),
        "deleted": int(work["deleted"]),
        "errorDetail": work["detail"],
    }
    if not switches["omit_names"]:
        row["name"] = work["name"]
    if not switches["omit_enum"]:
        row["processStatusEnum"] = statuses.describe(value)
    if value == statuses.SUCCESS and fault.get("kind") == "empty_result":
        row["videoUrl"] = ""
    elif value == statuses.SUCCESS and work["result"]:
        row["videoUrl"] = f"{origin}/cdn/{work['result']}"
    elif switches["empty_video_url"]:
        row["videoUrl"] = ""
    return row


def shown_id(work: Work, switches: SwitchBoard) -> int | str:
    """The id as a number, or as text with the switch `ids_as_strings`."""
    return str(work["id"]) if switches["ids_as_strings"] else int(work["id"])


def progress(work: Work) -> float:
    """Percent: rises with time up to 99 during a run, 100 at every end, failures included."""
    if not is_running(work):
        return 100.0
    if work["status"] == statuses.QUEUED or work["ready"] is None:
        return 0.0
    whole: float = max(work["ready"] - work["started"], 0.001)
    passed: float = max(0.0, min(1.0, (time.time() - work["started"]) / whole)) * 100
    if work["status"] == statuses.PREPARING:
        return round(min(passed, _FETCHED), 1)
    return round(min(max(passed, _FETCHED), 99.0), 1)
