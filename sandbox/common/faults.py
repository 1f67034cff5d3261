"""The queue of faults to come.

A fault names a call of the emulator (such as "create" or "job"), a kind, how many times it acts,
and optionally which calls it is meant for:

    {"call": "create", "kind": "drop_connection", "times": 1, "match": {"reference": "a*"},
     "when": "after"}

Every further member is a parameter of the fault. The queue is persisted, so a restarted emulator
goes on with what is left of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.common.store import Store

_KIND = "fault"
ANY_CALL = "any"
"""A fault's call that fits every call, where an emulator lists it among the known ones."""
MAX_FAULTS = 10_000
_OWN_MEMBERS = ("call", "kind", "times", "match")


class FaultError(ValueError):
    """A fault description that is not valid; the text names it and its mistake."""


@dataclass(frozen=True)
class Fault:
    """One fault: `times` is how often it still acts (None: until cleared)."""

    call: str
    kind: str
    times: int | None = 1
    match: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: object, known: Mapping[str, Collection[str]] | None) -> "Fault":
        """Read one description; raises FaultError for a malformed or an unknown one."""
        if not isinstance(raw, dict):
            raise FaultError(f"a fault is an object, not {type(raw).__name__}")
        call, kind, times = raw.get("call"), raw.get("kind"), raw.get("times", 1)
        if not isinstance(call, str) or not isinstance(kind, str):
            raise FaultError("a fault needs the strings 'call' and 'kind'")
        if times is not None and (
            isinstance(times, bool) or not isinstance(times, int) or times < 1
        ):
            raise FaultError(f"'times' of {call}/{kind} is a whole number from 1, or null")
        match = raw.get("match") or {}
        if not isinstance(match, dict):
            raise FaultError(f"'match' of {call}/{kind} is an object")
        if known is not None:
            if call not in known:
                raise FaultError(f"unknown call {call!r}; known: {', '.join(sorted(known))}")
            if kind not in known[call]:
                names = ", ".join(sorted(known[call]))
                raise FaultError(f"unknown kind {kind!r} for call {call!r}; known: {names}")
        params = {name: value for name, value in raw.items() if name not in _OWN_MEMBERS}
        return cls(call=call, kind=kind, times=times, match=match, params=params)

    def describe(self) -> dict[str, Any]:
        """The description from which `parse` makes the same fault."""
        return {
            **self.params,
            "call": self.call,
            "kind": self.kind,
            "times": self.times,
            "match": dict(self.match),
        }

    def number(self, name: str, default: float) -> float:
        """A numeric parameter, or the default when it is absent or not a number."""
        value = self.params.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def text(self, name: str, default: str) -> str:
        """A text parameter, or the default when it is absent or not a text."""
        value = self.params.get(name, default)
        return value if isinstance(value, str) else default


NO_FAULT = Fault("", "")
"""Stands for the absence of a fault where a kind is compared."""


class FaultQueue:
    """Faults in order; the first that fits a call acts on it and is used up by one."""

    def __init__(self, store: Store, known: Mapping[str, Collection[str]] | None = None) -> None:
        """`known` maps each call to the kinds that it understands; None checks no names."""
        self._store = store
        self._known = known

    def replace(self, faults: object) -> None:
        """Put these faults in place of all that were queued; nothing changes on FaultError."""
        parsed = self._parsed(faults)
        with self._store.transaction():
            self._store.clear(_KIND)
            self._append(parsed)

    def add(self, faults: object) -> None:
        """Queue these faults behind the others; nothing changes on FaultError."""
        parsed = self._parsed(faults)
        with self._store.transaction():
            self._append(parsed)

    def _parsed(self, faults: object) -> list[Fault]:
        if not isinstance(faults, list):
            raise FaultError("'faults' is a list")
        return [Fault.parse(raw, self._known) for raw in faults]

    def _append(self, faults: Sequence[Fault]) -> None:
        if len(self._store.all(_KIND)) + len(faults) > MAX_FAULTS:
            raise FaultError(f"at most {MAX_FAULTS} faults can be queued")
        for fault in faults:
            self._store.put(_KIND, str(self._store.counter("faults queued")), fault.describe())

    def clear(self) -> None:
        """Drop every queued fault."""
        self._store.clear(_KIND)

    def snapshot(self) -> list[dict[str, Any]]:
        """The faults that are still queued, in order."""
        return self._store.all(_KIND)

    def take(self, call: str, **facts: Any) -> Fault | None:
        """The first queued fault for this call whose `match` agrees with the facts, used once.

        A match value equals the fact, or is a text ending in `*` that the fact begins with.
        """
        with self._store.transaction():
            for key, body in self._store.items(_KIND):
                fault = Fault.parse(body, None)
                if fault.call not in (call, ANY_CALL) or not _agrees(fault.match, facts):
                    continue
                if fault.times is not None:
                    if fault.times <= 1:
                        self._store.delete(_KIND, key)
                    else:
                        self._store.put(_KIND, key, {**body, "times": fault.times - 1})
                return fault
        return None


def _agrees(match: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    for name, wanted in match.items():
        fact = facts.get(name)
        if isinstance(wanted, str) and wanted.endswith("*"):
            if not isinstance(fact, str) or not fact.startswith(wanted[:-1]):
                return False
        elif fact != wanted:
            return False
    return True
