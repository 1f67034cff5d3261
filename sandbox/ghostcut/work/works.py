"""The stored works: creation, queries, changes, re-runs, the end of a run, and the audit.

A work is a JSON document in the store. No function here awaits and all run on the event loop's
thread, so that reading, deciding and writing a work is never interleaved with another.
"""

import hashlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.rules import statuses
from sandbox.ghostcut.rules.request import Submission
from sandbox.ghostcut.work import points

Work = dict[str, Any]

_KIND = "work"
_FIRST_WORK = 538170000
_FIRST_PROJECT = 249800000


def create(
    emulator: Emulator, account: str, submission: Submission, raw: bytes, *, path: str, origin: str
) -> list[Work]:
    """Accept a request: one work for each url, all in one project, ids rising.

    A queued "job" fault is bound to its work here, so that it survives a restart.
    """
    now = time.time()
    digest = hashlib.sha256(account.encode() + b"\n" + raw).hexdigest()
    made = []
    store = emulator.store
    with store.transaction():
        project = _FIRST_PROJECT + store.counter("project")
        for url, name in zip(submission.urls, submission.names, strict=True):
            number = _FIRST_WORK + store.counter("work")
            work: Work = {
                "id": number,
                "project": project,
                "account": account,
                "url": url,
                "name": name,
                "path": path,
                "origin": origin,
                "digest": digest,
                "callback": submission.callback,
                "request": {
                    "mode": submission.mode,
                    "lang": submission.lang,
                    "resolution": submission.resolution,
                    "masks": submission.masks,
                    "extra": submission.extra,
                },
                "created": now,
                "run": 0,
                "free": False,
                "adjustments": 0,
                "charges": 0,
                "paid": 0.0,
                "price": 0.0,
                "duration": 0.0,
                "size": 0,
                "deleted": False,
            }
            work.update(_new_run(emulator, work, now))
            store.put(_KIND, str(number), work)
            made.append(work)
        store.put("project", str(project), {"works": [str(work["id"]) for work in made]})
    return made


def get(emulator: Emulator, number: int | str) -> Work | None:
    """The work, or None for an unknown id."""
    return emulator.store.get(_KIND, str(number))


def owned(emulator: Emulator, account: str, number: int | str) -> Work | None:
    """The work if the account has it and has not deleted it."""
    work = get(emulator, number)
    return work if work and work["account"] == account and not work["deleted"] else None


def all_works(emulator: Emulator) -> list[Work]:
    """Every work in the order of acceptance."""
    return emulator.store.all(_KIND)


def update(emulator: Emulator, number: int, **changes: Any) -> Work:
    """Change members of a work, and the time of its last change."""
    work = get(emulator, number)
    if work is None:
        raise KeyError(number)
    work.update(changes, updated=time.time())
    emulator.store.put(_KIND, str(number), work)
    return work


def find(
    emulator: Emulator,
    account: str,
    numbers: Iterable[str] | None,
    projects: Iterable[str] | None,
) -> list[Work]:
    """Works by id, else by project, else all of the account; newest first.

    Left out are unknown, foreign and deleted ones, and those too young for the lag switches.
    """
    switches = emulator.switches
    lag = switches["status_lag_seconds"]
    if numbers is not None:
        found = [get(emulator, number) for number in dict.fromkeys(numbers)]
    elif projects is not None:
        batches = [emulator.store.get("project", number) for number in dict.fromkeys(projects)]
        found = [get(emulator, number) for batch in batches if batch for number in batch["works"]]
    else:
        lag = switches["list_lag_seconds"]
        found = list(all_works(emulator))
    show_deleted, latest = switches["show_deleted"], time.time() - lag
    mine = [
        work
        for work in found
        if work is not None
        and work["account"] == account
        and (show_deleted or not work["deleted"])
        and (lag == 0 or work["created"] <= latest)
    ]
    return sorted(mine, key=lambda work: (work["created"], work["id"]), reverse=True)


def restart(
    emulator: Emulator, work: Work, *, masks: str | None = None, adjust: bool = False
) -> Work:
    """Begin another run of a finished work; the first adjustments of a paid work are free."""
    changes: dict[str, Any] = {"run": work["run"] + 1}
    if adjust:
        number = work["adjustments"] + 1
        free = work["charges"] > 0 and number <= emulator.switches["free_adjustments"]
        changes.update(adjustments=number, free=free)
        if masks is not None:
            changes["request"] = {**work["request"], "masks": masks}
    return update(emulator, work["id"], **changes, **_new_run(emulator, work, time.time()))


def end(emulator: Emulator, number: int, status: int, **changes: Any) -> Work:
    """End the run. A success is charged in the same transaction, or becomes locked (83)."""
    with emulator.store.transaction():
        work = update(emulator, number, **changes)
        changes = {"status": status}
        if status == statuses.SUCCESS and not work["free"]:
            if points.charge(emulator, work["account"], work["price"]):
                changes.update(charges=work["charges"] + 1, paid=work["paid"] + work["price"])
            else:
                changes["status"] = statuses.LOCKED
        work = update(emulator, number, **changes)
        if work["callback"]:
            pending = {"work": number, "next": time.time(), "attempts": 0, "state": "pending"}
            emulator.store.put("callback", f"{number}:{work['run']}", pending)
    return work


def unlock(emulator: Emulator, work: Work) -> Work | None:
    """Pay for a locked work and show its result; None when the points do not suffice."""
    with emulator.store.transaction():
        if points.balance(emulator, work["account"]) < work["price"]:
            return None
        return end(emulator, work["id"], statuses.SUCCESS, run=work["run"] + 1, detail="")


def is_running(work: Work) -> bool:
    """Whether the work's current run has not ended."""
    return bool(work["status"] < statuses.SUCCESS)


def audit(emulator: Emulator) -> dict[str, Any]:
    """The body of `GET /_sandbox/audit`; `replayed` is always 0: the vendor has no keys."""
    works = all_works(emulator)
    requests = {(work["digest"], work["project"]) for work in works}
    callbacks = emulator.store.all("callback")
    return {
        "accepted": len(works),
        "billed": sum(work["charges"] for work in works),
        "replayed": 0,
        "duplicates": len(requests) - len({digest for digest, _ in requests}),
        "jobs": [_audit_job(work, callbacks) for work in works],
    }


def _new_run(emulator: Emulator, work: Work, now: float) -> dict[str, Any]:
    fault = emulator.faults.take(
        "job", reference=work["name"], url=work["url"], work=str(work["id"])
    )
    return {
        "fault": None if fault is None else fault.describe(),
        "status": statuses.QUEUED,
        "detail": "",
        "started": now,
        "ready": None,
        "updated": now,
        "result": None,
    }


def _audit_job(work: Work, callbacks: list[Work]) -> dict[str, Any]:
    mine = [body for body in callbacks if body["work"] == work["id"]]
    return {
        "id": str(work["id"]),
        "project": str(work["project"]),
        "app_key": work["account"],
        "reference": work["name"],
        "idempotency_key": None,
        "status": work["status"],
        "billed": work["charges"],
        "points": work["paid"],
        "created_at": datetime.fromtimestamp(work["created"], UTC).isoformat(),
        "url": work["url"].partition("?")[0],
        "submit_path": work["path"],
        "run": work["run"],
        "deleted": work["deleted"],
        "error_detail": work["detail"],
        "callback_attempts": sum(body["attempts"] for body in mine),
        "callbacks_pending": sum(body["state"] == "pending" for body in mine),
        "callbacks_delivered": sum(body["state"] == "delivered" for body in mine),
    }
