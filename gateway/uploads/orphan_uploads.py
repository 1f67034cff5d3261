"""Uploads of refused forms whose removal is to be tried again.

The bucket did not answer, or Prefect could not say whether a job uses them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000


class OrphanUploads:
    """Prefixes of uploads, bounded in number.

    The sweeper finds the dropped ones, and those of before a restart, by their age.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: OrderedDict[str, float] = OrderedDict()

    def add(self, prefix: str) -> None:
        """Add a prefix ``uploads/<owner>/<upload id>/``."""
        self._since[prefix] = self._monotonic()
        self._since.move_to_end(prefix)
        if len(self._since) > _MOST:
            self._since.popitem(last=False)

    def older_than(self, seconds: float) -> list[str]:
        """The prefixes that were added that long ago."""
        before = self._monotonic() - seconds
        return [prefix for prefix, since in self._since.items() if since <= before]

    def drop(self, prefix: str) -> None:
        """Drop a prefix that was removed, or that a job uses."""
        self._since.pop(prefix, None)
