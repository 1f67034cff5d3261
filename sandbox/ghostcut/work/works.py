"""Works: creation, queries, deletion, re-runs and the one way in which a run ends.

A work is a JSON document in the store. Nothing here awaits, and everything runs on the event
loop's thread, so that reading, deciding and writing a work is never interleaved with another.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.common.faults import FaultQueue
from sandbox.common.store import Store
from sandbox.ghostcut.rules import statuses
from sandbox.ghostcut.rules.request import Submission
from sandbox.ghostcut.switches import Switches
from sandbox.ghostcut.work.points import Points

Work = dict[str, Any]

_KIND = "work"
_FIRST_WORK = 538170000
_FIRST_PROJECT = 249800000


class WorkBook:
    """All works of all accounts."""

    def __init__(
        self, store: Store, faults: FaultQueue, points: Points, switches: Switches
    ) -> None:
        self.store = store
        self._faults = faults
        self._points = points
        self._switches = switches

    def create(
        self, account: str, submission: Submission, raw: bytes, *, path: str, origin: str
    ) -> list[Work]:
        """Accept a request: one work for each url, all in one project, ids rising.

        A queued "job" fault is bound to its work here, so that it survives a restart.
        """
        now = time.time()
        digest = hashlib.sha256(account.encode() + b"\n" + raw).hexdigest()
        works = []
        with self.store.transaction():
            project = _FIRST_PROJECT + self.store.counter("project")
            for url, name in zip(submission.urls, submission.names, strict=True):
                number = _FIRST_WORK + self.store.counter("work")
                fault = self._faults.take("job", reference=name, url=url, work=str(number))
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
                    "uid": submission.uid,
                    "out_user_id": submission.out_user_id,
                    "request": {
                        "mode": submission.mode,
                        "lang": submission.lang,
                        "resolution": submission.resolution,
                        "masks": submission.masks,
                        "extra": submission.extra,
                    },
                    "created": now,
                    "fault": None if fault is None else fault.describe(),
                    "run": 0,
                    "free": False,
                    "adjustments": 0,
                    "charges": 0,
                    "paid": 0.0,
                    "price": 0.0,
                    "duration": 0.0,
                    "size": 0,
                    "result": None,
                    "deleted": False,
                    **_fresh(now),
                }
                self.store.put(_KIND, str(number), work)
                works.append(work)
            self.store.put("project", str(project), {"works": [str(work["id"]) for work in works]})
        return works

    def get(self, number: int | str) -> Work | None:
        """The work, or None for an id that was never given."""
        return self.store.get(_KIND, str(number))

    def owned(self, account: str, number: int | str) -> Work | None:
        """The work if this account has it and has not deleted it."""
        work = self.get(number)
        return work if work and work["account"] == account and not work["deleted"] else None

    def all(self) -> list[Work]:
        """Every work in the order of acceptance."""
        return self.store.all(_KIND)

    def update(self, number: int, **changes: Any) -> Work:
        """Merge changes into a work and stamp its time of change."""
        work = self.store.get(_KIND, str(number))
        if work is None:
            raise KeyError(number)
        work.update(changes, updated=time.time())
        self.store.put(_KIND, str(number), work)
        return work

    def find(
        self, account: str, works: Iterable[str] | None, projects: Iterable[str] | None
    ) -> list[Work]:
        """Works by id, else by project, else all of the account; newest first.

        Unknown, foreign and deleted ones are left out, as are those too young for the lag
        switches.
        """
        lag = self._switches.status_lag_seconds
        if works is not None:
            found = [self.get(number) for number in dict.fromkeys(works)]
        elif projects is not None:
            batches = [self.store.get("project", number) for number in dict.fromkeys(projects)]
            found = [self.get(number) for batch in batches if batch for number in batch["works"]]
        else:
            lag = self._switches.list_lag_seconds
            found = list(self.all())
        shown = self._switches.show_deleted
        latest = time.time() - lag
        mine = [
            work
            for work in found
            if work is not None
            and work["account"] == account
            and (shown or not work["deleted"])
            and (lag == 0 or work["created"] <= latest)
        ]
        return sorted(mine, key=lambda work: (work["created"], work["id"]), reverse=True)

    def restart(self, work: Work, *, masks: str | None = None, adjust: bool = False) -> Work:
        """Begin another run of a finished work; the first adjustments of a paid work are free."""
        changes: dict[str, Any] = {"run": work["run"] + 1, "result": None, "fault": None}
        if adjust:
            adjustments = work["adjustments"] + 1
            changes["adjustments"] = adjustments
            allowance = self._switches.free_adjustments
            changes["free"] = work["charges"] > 0 and adjustments <= allowance
            if masks is not None:
                changes["request"] = {**work["request"], "masks": masks}
        fault = self._faults.take(
            "job", reference=work["name"], url=work["url"], work=str(work["id"])
        )
        if fault is not None:
            changes["fault"] = fault.describe()
        return self.update(work["id"], **changes, **_fresh(time.time()))

    def end(self, number: int, status: int, **changes: Any) -> Work:
        """End the run. A success is charged in the same transaction, or becomes locked (83)."""
        with self.store.transaction():
            work = self.update(number, **changes)
            if status == statuses.SUCCESS and not work["free"]:
                if self._points.charge(work["account"], work["price"]):
                    changes = {
                        "charges": work["charges"] + 1,
                        "paid": work["paid"] + work["price"],
                    }
                else:
                    status, changes = statuses.LOCKED, {}
            else:
                changes = {}
            work = self.update(number, status=status, **changes)
            if work["callback"]:
                self.store.put("callback", f"{number}:{work['run']}", _pending(work))
        return work

    def unlock(self, work: Work) -> Work | None:
        """Pay for a locked work and show its result; None when the points do not reach."""
        with self.store.transaction():
            if self._points.balance(work["account"]) < work["price"]:
                return None
            return self.end(work["id"], statuses.SUCCESS, run=work["run"] + 1, detail="")

    def audit(self) -> dict[str, Any]:
        """The answer of `GET /_sandbox/audit`; `replayed` is 0 for ever, the vendor has no keys."""
        works = self.all()
        requests = {(work["digest"], work["project"]) for work in works}
        callbacks = dict(self.store.items("callback"))
        return {
            "accepted": len(works),
            "billed": sum(work["charges"] for work in works),
            "replayed": 0,
            "duplicates": len(requests) - len({digest for digest, _ in requests}),
            "jobs": [_audit_job(work, callbacks) for work in works],
        }


def is_running(work: Work) -> bool:
    """Whether the work's current run has not ended."""
    return bool(work["status"] < statuses.SUCCESS)


def _fresh(now: float) -> dict[str, Any]:
    return {
        "status": statuses.QUEUED,
        "detail": "",
        "started": now,
        "ready": None,
        "updated": now,
    }


def _pending(work: Work) -> dict[str, Any]:
    return {"work": work["id"], "next": time.time(), "attempts": 0, "state": "pending"}


def _audit_job(work: Work, callbacks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    mine = [body for body in callbacks.values() if body["work"] == work["id"]]
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
