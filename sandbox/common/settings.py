"""Switches: named, typed, persisted settings that change how an emulator behaves while it runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.common.store import Store

_KIND = "switch"


class SwitchError(ValueError):
    """An unknown switch or a value that it cannot take; the text names the switch."""


@dataclass(frozen=True)
class Switch:
    """The values of a switch. Its type is the default's; numbers are finite, at least `minimum`.

    `nullable` also allows null; `choices` lists the only values allowed.
    """

    default: Any
    meaning: str = ""
    nullable: bool = False
    choices: tuple[Any, ...] | None = None
    minimum: float | None = 0.0

    def check(self, name: str, value: Any) -> None:
        """Raise SwitchError unless the value fits."""
        if value is None:
            if not (self.nullable or self.default is None):
                raise SwitchError(f"switch {name!r} cannot be null")
            return
        if self.choices is not None:
            if value not in self.choices:
                names = ", ".join(repr(choice) for choice in self.choices)
                raise SwitchError(f"switch {name!r} is one of {names}")
            return
        if isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise SwitchError(f"switch {name!r} is true or false")
        elif isinstance(self.default, str):
            if not isinstance(value, str):
                raise SwitchError(f"switch {name!r} is a text")
        else:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SwitchError(f"switch {name!r} is a number")
            if not math.isfinite(value) or (self.minimum is not None and value < self.minimum):
                raise SwitchError(f"switch {name!r} is a finite number from {self.minimum}")


class SwitchBoard:
    """The switches of one emulator; what was set survives a restart."""

    def __init__(self, store: Store, defaults: Mapping[str, Any]) -> None:
        """A default may be a plain value (null: a number or null) or a Switch."""
        self._store = store
        self._switches = {
            name: entry if isinstance(entry, Switch) else Switch(entry)
            for name, entry in defaults.items()
        }

    def __getitem__(self, name: str) -> Any:
        """The value in force; KeyError for a switch that does not exist."""
        switch = self._switches[name]
        stored = self._store.get(_KIND, name)
        return switch.default if stored is None else stored["value"]

    def snapshot(self) -> dict[str, Any]:
        """Every switch with the value in force."""
        return {name: self[name] for name in self._switches}

    def update(self, changes: object) -> dict[str, Any]:
        """Set the named switches, leave the others; nothing changes on SwitchError."""
        if not isinstance(changes, dict):
            raise SwitchError("settings are an object of switch names and values")
        for name, value in changes.items():
            if name not in self._switches:
                known = ", ".join(sorted(self._switches))
                raise SwitchError(f"unknown switch {name!r}; known: {known}")
            self._switches[name].check(name, value)
        with self._store.transaction():
            for name, value in changes.items():
                self._store.put(_KIND, name, {"value": value})
        return self.snapshot()
