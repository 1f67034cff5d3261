"""Faults of the providers and of S3: lost answers, refusals, lies and broken transfers."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.jobs import Clips, Job
from tests.chaos.parts.crash import row
from tests.chaos.processes import Kill, Plan, Suite, run_plans

_BATCH = 16
_STEP = {"sync_so": "lip-sync", "ghostcut": "inpainting"}
_VENDOR = {"sync_so": "Sync.so", "ghostcut": "GhostCut", "s3": "S3"}


@dataclass(frozen=True)
class Fault:
    """One way in which a server misbehaves towards one job.

    Attributes:
        server: that misbehaves.
        call: the disturbed call.
        kind: what happens.
        more: other members of the fault, as the server's control API takes them.
        ends: state type in which the job must end.
        accepted: most attempts that may be accepted.
        billed: attempts that must be billed.
        key: for S3: the object, below the job's or its records' prefix.
        source: kind of source, where the fault needs a certain one.
        first: a fault without which this one's call is not made.
    """

    server: str
    call: str
    kind: str
    more: dict[str, Any] = field(default_factory=dict)
    ends: str = "COMPLETED"
    accepted: tuple[int, int] = (1, 1)
    billed: tuple[int, int] = (1, 1)
    key: str = ""
    source: str = "file"
    first: Fault | None = None

    @property
    def row(self) -> str:
        extra = " ".join(str(value) for name, value in self.more.items() if name != "times")
        key = f" of {self.key}" if self.key else ""
        return " ".join(f"{_VENDOR[self.server]} {self.call}{key}: {self.kind} {extra}".split())

    def planned(self, job_id: str) -> dict[str, Any]:
        """The fault as the server's control API takes it, for one job."""
        fault = {"call": self.call, "kind": self.kind, "times": 1, **self.more}
        if self.server == "s3":
            fault["match"] = {"key": self.key.replace("{job}", job_id)}
        elif self.call == "search":
            # The provider is searched by its status call without ids.
            fault |= {"call": "status", "match": {"work": None}}
        elif self.call in ("create", "job"):
            fault["match"] = {"reference": f"pv-{job_id}-{_STEP[self.server]}-1"}
        # Other calls name the provider's job, which is not known yet: any job of the batch gets it.
        return fault


_TRANSPORT = ("500_html", "502_html", "503_html", "504", "500_json", "503_json", "drop_connection")
_SPOILT = ("truncate_json", "truncate_body")
# Responses of an edge server to a read, or of the API to a request that it takes for a mistake.
_REFUSED = ("403_html", "404_html", "400_json")
_SEARCH = {"sync_so": "list", "ghostcut": "search"}
# Checkpoints that come after all that a fault disturbs.
_LATE = ("report.begin", "report.written", "ending.final")
_OF_SEARCHES = ("503_html", "403_html", "drop_connection", "truncate_json", "429_rate")


def _lost(server: str) -> Fault:
    """A lost answer, after which a job looks for itself in the provider's listing."""
    return Fault(server, "create", "drop_connection", {"when": "after"})


def provider_faults() -> list[Fault]:
    """Faults of both providers, at each of their calls."""
    found = []
    for server in ("sync_so", "ghostcut"):
        for when in ("before", "after"):
            found += [Fault(server, "create", kind, {"when": when}) for kind in _TRANSPORT]
        found += [Fault(server, "create", kind, {"when": "after"}) for kind in _SPOILT]
        found += [
            Fault(server, "create", "429_rate"),
            Fault(server, "create", "extra_fields"),
            Fault(server, "create", "slow", {"seconds": 3, "when": "after"}),
            Fault(server, "create", "drop_connection", {"when": "after", "times": 2}),
        ]
        for kind in (*_TRANSPORT, *_SPOILT, *_REFUSED, "429_rate", "extra_fields"):
            found.append(Fault(server, "status", kind))
        found += [
            *(Fault(server, _SEARCH[server], kind, first=_lost(server)) for kind in _OF_SEARCHES),
            Fault(server, "download", "expired_link"),
            Fault(server, "download", "truncated"),
            Fault(server, "download", "drop_connection"),
            Fault(server, "download", "503_html"),
            Fault(server, "job", "slow", {"seconds": 6}),
        ]
    return found + _sync_so_only() + _ghostcut_only()


def _sync_so_only() -> list[Fault]:
    unknown = "idempotency_unknown"
    odd = {"status": 409, "code": "IDEMPOTENCY_KEY_EXPIRED", "with_id": False}
    return [
        Fault("sync_so", "create", unknown, {"when": "before", **odd}),
        Fault("sync_so", "create", unknown, {"when": "after", **odd}),
        Fault("sync_so", "create", unknown, {"when": "after", **odd, "status": 422}),
        Fault("sync_so", "create", unknown, {"when": "after", **odd, "status": 425}),
        # The words for another body under the key: an earlier send of the attempt arrived.
        Fault(
            "sync_so", "create", unknown, {"when": "after", **odd, "code": "IDEMPOTENCY_CONFLICT"}
        ),
        Fault("sync_so", "create", unknown, {"when": "before"}),
        Fault("sync_so", "create", unknown, {"when": "after", "with_id": True}),
        Fault("sync_so", "create", unknown, {"when": "after", "with_id": False}),
        Fault("sync_so", "create", "429_concurrency"),
        Fault("sync_so", "status", "unknown_status", {"status": "AWAITING_REVIEW"}),
        # The vendor's code says that a new attempt may help: it is made, and paid alone.
        Fault("sync_so", "job", "failed", {"code": "generation_timeout"}, accepted=(2, 1)),
        Fault(
            "sync_so",
            "job",
            "failed",
            {"code": "generation_input_validation_failed"},
            ends="FAILED",
            accepted=(1, 0),
            billed=(0, 0),
        ),
        Fault("sync_so", "job", "audio_dropped", ends="FAILED", accepted=(1, 0), billed=(1, 0)),
        # Doubtful results are delivered.
        Fault("sync_so", "job", "wrong_duration"),
        Fault("sync_so", "job", "watermark"),
    ]


def _ghostcut_only() -> list[Fault]:
    return [
        Fault("ghostcut", "create", "9999", {"when": "before"}),
        Fault("ghostcut", "create", "9999", {"when": "after"}),
        Fault("ghostcut", "status", "9999"),
        Fault("ghostcut", "status", "empty"),
        Fault("ghostcut", "status", "unknown_status", {"status": -9}),
        Fault("ghostcut", "job", "failed", {"status": 20}, ends="FAILED", billed=(1, 0)),
        # The vendor's status says that a new attempt may help.
        Fault("ghostcut", "job", "failed", {"status": 18}, accepted=(1, 2)),
        Fault("ghostcut", "job", "audio_dropped", ends="FAILED"),
        Fault("ghostcut", "job", "wrong_duration"),
        Fault("ghostcut", "job", "watermark"),
    ]


def storage_faults() -> list[Fault]:
    """Faults of S3, at the job's files, at its records, and in the middle of a multipart upload."""
    found = []
    for kind in ("500", "503_slow_down", "drop_connection", "lost_answer"):
        found += [
            Fault("s3", "put_object", kind, key="jobs/{job}/pro_*"),
            Fault("s3", "put_object", kind, key="results/{job}/*"),
            Fault("s3", "put_object", kind, key="results/{job}/lip-sync-1-request"),
            Fault("s3", "put_object", kind, key="results/{job}/lip-sync-1-request-sent"),
            Fault("s3", "put_object", kind, key="results/{job}/inpainting-1-request-sent"),
            Fault("s3", "head_object", kind, key="jobs/{job}/*"),
            Fault("s3", "get_object", kind, key="jobs/{job}/*"),
            Fault("s3", "upload_part", kind, key="jobs/{job}/*", source="large file"),
            Fault("s3", "complete_multipart_upload", kind, key="jobs/{job}/*", source="large link"),
            Fault("s3", "create_multipart_upload", kind, key="jobs/{job}/*", source="large file"),
            Fault("s3", "copy_object", kind, key="jobs/{job}/*", source="object"),
        ]
    found += [
        Fault("s3", "put_object", "ignore_condition", {"times": 3}, key="results/{job}/*"),
        Fault("s3", "get_object", "truncate", key="jobs/{job}/*"),
        Fault("s3", "get_object", "truncate", key="results/{job}/*"),
        Fault(
            "s3", "complete_multipart_upload", "200_error", key="jobs/{job}/*", source="large file"
        ),
        Fault("s3", "copy_object", "200_error", key="jobs/{job}/*", source="object"),
        Fault("s3", "put_object", "500", {"times": 6}, key="jobs/{job}/pro_*"),
    ]
    return found


def fault_suite(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Each fault once alone, and in the suite's rounds together with a kill where it hurts and one
    near the end."""
    faults = [*provider_faults(), *storage_faults()]
    _run(suite, clips, [(fault, ()) for fault in faults])
    pairs = [
        (fault, (_kill(fault, chance), (chance.choice(_LATE), "", 1)))
        for _ in range(suite.pairs)
        for fault in faults
    ]
    chance.shuffle(pairs)
    _run(suite, clips, pairs)


def _kill(fault: Fault, chance: random.Random) -> Kill:
    """A checkpoint near to where a fault acts."""
    step = _STEP.get(fault.server) or chance.choice(sorted(_STEP.values()))
    near = {
        "create": ["submit.marked", "submit.before-send", "submit.answered", "wait.before-look"],
        "list": ["submit.before-mark", "submit.before-send", "wait.before-look"],
        "search": ["submit.before-mark", "submit.before-send", "wait.before-look"],
        "status": ["wait.looked", "wait.ended", "store.begin"],
        "job": ["wait.looked", "wait.ended", "store.begin"],
        "download": ["store.begin", "store.stored", "verify.begin"],
    }
    anywhere = ["prepare.persisted", "submit.answered", "wait.ended", "store.stored", "verify.done"]
    return chance.choice(near.get(fault.call, anywhere)), step, 1


def _run(suite: Suite, clips: Clips, plans: Iterable[tuple[Fault, Sequence[Kill]]]) -> None:
    waiting = deque(plans)
    while waiting and not suite.over:
        batch = [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
        _run_batch(suite, clips, batch)


def _run_batch(suite: Suite, clips: Clips, batch: list[tuple[Fault, Sequence[Kill]]]) -> None:
    plans = []
    planned: dict[str, list[tuple[Fault, dict[str, Any]]]] = {}
    for fault, kills in batch:
        plans.append(_plan(suite, clips, fault, kills))
        for each in (fault, fault.first):
            if each is not None:
                described = each.planned(plans[-1].job.job_id)
                planned.setdefault(each.server, []).append((each, described))
    for server, faults in planned.items():
        suite.stack.control(server, "faults", faults=[described for _, described in faults])
    run_plans(suite, plans, at_once=len(plans))
    for server, faults in planned.items():
        _count(suite, server, faults)


def _plan(suite: Suite, clips: Clips, fault: Fault, kills: Sequence[Kill]) -> Plan:
    rows = [fault.row, *map(row, kills)]
    rows += [fault.first.row] if fault.first else []
    job = Job(
        suite.create(clips.parameters(fault.source)),
        rows,
        ends=fault.ends,
        accepted=fault.accepted,
        billed=fault.billed,
    )
    return Plan(job, deque((row(kill), kill) for kill in kills))


def _count(suite: Suite, server: str, planned: list[tuple[Fault, dict[str, Any]]]) -> None:
    """Count the faults that acted: those that are not left in the server's queue."""
    left = suite.stack.control(server, "faults")["faults"]
    for fault, described in planned:
        same = [
            each
            for each in left
            if all(each.get(key) == described[key] for key in described if key != "times")
        ]
        remaining = same[0]["times"] if same else 0
        if same:
            left.remove(same[0])
        suite.table.inject(fault.row, described["times"] - remaining)
    suite.stack.control(server, "faults", faults=[])
