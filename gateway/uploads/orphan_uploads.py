"""Uploads of forms that could not be removed at once: the bucket did not answer, or Prefect could
not say whether a job needs them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000


class Leftovers:
    """Ids of uploads by their prefixes, bounded in number; after a restart, and for the oldest of
    too many, the sweeper goes by their age."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: OrderedDict[str, float] = OrderedDict()

    def add(self, prefix: str) -> None:
        """Remember a prefix ``uploads/<owner>/<upload id>/``."""
        self._since[prefix] = self._monotonic()
        self._since.move_to_end(prefix)
        if len(self._since) > _MOST:
            self._since.popitem(last=False)

    def older_than(self, seconds: float) -> list[str]:
        """The prefixes that have been here for a time."""
        before = self._monotonic() - seconds
        return [prefix for prefix, since in self._since.items() if since <= before]

    def drop(self, prefix: str) -> None:
        """Forget one: it was removed, or a job uses it."""
        self._since.pop(prefix, None)
