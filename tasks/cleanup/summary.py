"""The table of a cleanup: what went or would go, and what stays for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prefect.artifacts import acreate_table_artifact

from pro_video.core.job_names import FileKind
from pro_video.s3.listing import Listed

ARTIFACT_KEY: Final = "pro-video-cleanup"
"""Key of the cleanups' table artifacts; the artifact of one is found by its flow run."""

_MOST_ROWS: Final = 1000


@dataclass
class Summary:
    """The effect of one cleanup.

    Attributes:
        dry_run: nothing was removed.
        is_partial: it ended at its limit of time.
    """

    dry_run: bool
    is_partial: bool = False
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _jobs: set[str] = field(default_factory=set)
    _objects: Counter[FileKind] = field(default_factory=Counter)
    _bytes: Counter[FileKind] = field(default_factory=Counter)
    _kept: Counter[str] = field(default_factory=Counter)

    def add(self, job_id: str, kind: FileKind, objects: Sequence[Listed]) -> None:
        """Files of a job that went or would go; an empty id for those of no single job."""
        if not objects:
            return
        size = sum(each.size for each in objects)
        self._jobs |= {job_id} - {""}
        self._objects[kind] += len(objects)
        self._bytes[kind] += size
        if len(self._rows) < _MOST_ROWS:
            row = {"job": job_id or "reused lip-syncs", "kind": kind}
            self._rows.append({**row, "objects": len(objects), "bytes": size})

    def keep(self, reason: str) -> None:
        """A job of which nothing goes."""
        self._kept[reason] += 1

    @property
    def message(self) -> str:
        """One sentence."""
        done = "Would remove" if self.dry_run else "Removed"
        size = self._bytes.total() / 1e6
        more = "; the rest is left to the next cleanup" if self.is_partial else ""
        return (
            f"{done} {self._objects.total()} objects ({size:.1f} MB) of {len(self._jobs)} jobs; "
            f"{self._kept.total()} jobs stay{more}"
        )

    def table(self) -> list[dict[str, Any]]:
        """Totals for each kind, the reasons of what stays, then a row for each job and kind."""
        totals = [
            {"job": "total", "kind": kind, "objects": count, "bytes": self._bytes[kind]}
            for kind, count in sorted(self._objects.items())
        ]
        kept = [
            {"job": f"{count} jobs stay", "kind": reason, "objects": None, "bytes": None}
            for reason, count in sorted(self._kept.items())
        ]
        return totals + kept + self._rows

    async def show(self) -> None:
        """Write the table as an artifact of the running flow.

        Raises:
            httpx.HTTPError: Prefect does not answer.
        """
        await acreate_table_artifact(table=self.table(), key=ARTIFACT_KEY, description=self.message)
