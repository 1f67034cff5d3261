"""Faults on demand: what goes wrong at the next calls of an operation.

A fault is {"call", "kind", "times", "match", ...parameters}, as in the other emulators. `call` is
an operation's name in snake case, one of the short names, or "any". `match` compares "bucket",
"key", "part_number" and "method"; a text that ends in `*` matches what begins like it. The queue
lives in memory: a restarted server has none.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.s3.errors import ERRORS, S3Error
from sandbox.s3.messages.request import Request
from sandbox.s3.router import OPERATIONS

# kind -> what a test would want it for
KINDS: Mapping[str, str] = {
    "500": "InternalError before anything is done",
    "503_slow_down": "SlowDown before anything is done",
    "error": "the S3 error `code` before anything is done",
    "delay": "waits `seconds` before doing it",
    "drop_connection": "cuts the connection after reading `after_bytes` of the body (0)",
    "lost_answer": "does it and cuts the connection instead of answering",
    "truncate": "announces the whole body, sends `after_bytes` (half) and cuts the connection",
    "slow": "moves the bodies of both directions at `bytes_per_second` (65536)",
    "corrupt": "flips the lowest bit of the byte at `offset` (the middle) of the answer's body",
    "ignore_range": "answers a ranged read with the whole object and 200",
    "ignore_condition": "does it whatever its If-Match and If-None-Match say",
    "no_checksum": "does it and tells no checksum",
    "pretend": "answers 204 and does nothing",
    "200_error": "answers 200 with an error document, as S3 may for copies and completions",
}
SHORT_NAMES = {
    "complete": "complete_multipart_upload",
    "create_upload": "create_multipart_upload",
    "abort": "abort_multipart_upload",
    "copy": "copy_object",
}
_OWN_MEMBERS = ("call", "kind", "times", "match")
_NUMBERS = ("seconds", "after_bytes", "bytes_per_second", "offset")
_MATCHES = ("bucket", "key", "part_number", "method")
MAX_FAULTS = 1000


class FaultError(ValueError):
    """A fault description that is not valid."""


@dataclass(slots=True)
class Fault:
    """One fault; `times` is how often it still acts, None until cleared."""

    call: str
    kind: str
    times: int | None
    match: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "call": self.call,
            "kind": self.kind,
            "times": self.times,
            "match": dict(self.match),
            **self.params,
        }

    def number(self, name: str, default: float) -> float:
        return float(self.params.get(name, default))

    def error(self) -> S3Error:
        """The S3 error of the kinds that answer with one."""
        if self.kind == "503_slow_down":
            return S3Error("SlowDown")
        return S3Error(str(self.params["code"]) if self.kind == "error" else "InternalError")


def parse_fault(raw: object) -> Fault:
    """Reads one description; FaultError says what is wrong with it."""
    if not isinstance(raw, dict):
        raise FaultError("a fault is an object")
    call, kind, times = raw.get("call"), raw.get("kind"), raw.get("times", 1)
    if not isinstance(call, str) or not isinstance(kind, str):
        raise FaultError("a fault needs the strings 'call' and 'kind'")
    call = SHORT_NAMES.get(call, call)
    known = {name for name, _ in OPERATIONS.values()} | {"any"}
    if call not in known:
        raise FaultError(f"unknown call {call!r}; known: {', '.join(sorted(known))}")
    if kind not in KINDS:
        raise FaultError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise FaultError("'times' is a whole number from 1, or null")
    match = raw.get("match") or {}
    if not isinstance(match, dict) or not set(match) <= set(_MATCHES):
        raise FaultError(f"'match' is an object with members of {', '.join(_MATCHES)}")
    params = {name: value for name, value in raw.items() if name not in _OWN_MEMBERS}
    for name, value in params.items():
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        if name in _NUMBERS and not good:
            raise FaultError(f"'{name}' is a number from 0")
    if kind == "error" and params.get("code") not in ERRORS:
        raise FaultError("'error' needs the 'code' of a known S3 error")
    return Fault(call, kind, times, match, params)


class FaultQueue:
    """Faults in order; the first that fits a call acts on it and is used up by one."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def replace(self, descriptions: object) -> None:
        """Puts these in place of all queued faults; changes nothing when one is wrong."""
        self._queue(descriptions, behind=False)

    def add(self, descriptions: object) -> None:
        """Queues these behind the others; changes nothing when one is wrong."""
        self._queue(descriptions, behind=True)

    def _queue(self, descriptions: object, *, behind: bool) -> None:
        if not isinstance(descriptions, list) or len(descriptions) > MAX_FAULTS:
            raise FaultError(f"'faults' is a list of at most {MAX_FAULTS}")
        parsed = [parse_fault(raw) for raw in descriptions]
        with self._lock:
            faults = [*self._faults, *parsed] if behind else parsed
            if len(faults) > MAX_FAULTS:
                raise FaultError(f"at most {MAX_FAULTS} faults can be queued")
            self._faults = faults

    def snapshot(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.describe() for fault in self._faults]

    def take(self, request: Request) -> Fault | None:
        facts = {
            "bucket": request.bucket,
            "key": request.key,
            "method": request.method,
            "part_number": request.query.get("partNumber"),
        }
        with self._lock:
            for fault in self._faults:
                if fault.call in ("any", request.operation) and _agrees(fault.match, facts):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times == 0:
                            self._faults.remove(fault)
                    return fault
        return None


def _agrees(match: Mapping[str, Any], facts: Mapping[str, str | None]) -> bool:
    for name, wanted in match.items():
        fact = facts.get(name) or ""
        text = str(wanted)
        if not (fact.startswith(text[:-1]) if text.endswith("*") else fact == text):
            return False
    return True
