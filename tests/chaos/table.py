"""The output of the suite: a row for each checkpoint or fault, and the violations."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from tests.chaos.jobs import Job

logger = logging.getLogger("tests.chaos")

UNDISTURBED = "undisturbed"
"""The row of the jobs without a fault."""


@dataclass
class Row:
    """One checkpoint or fault.

    Attributes:
        tried: how often it was injected.
        jobs: jobs with it.
        finished: those of them without a problem.
        billed: attempts billed for them at (Sync.so, GhostCut).
        due: attempts that had to be billed.
    """

    tried: int = 0
    jobs: int = 0
    finished: int = 0
    billed: tuple[int, int] = (0, 0)
    due: tuple[int, int] = (0, 0)


@dataclass
class Table:
    """All that a run of the suite found."""

    rows: dict[str, Row] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Of the suite itself; what its scenarios would have found is not known."""

    def row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row())

    def inject(self, name: str, times: int = 1) -> None:
        """Count faults that really happened."""
        self.row(name).tried += times

    def judge(self, job: Job, billed: tuple[int, int], problems: list[str]) -> None:
        """Count a job that has ended, and its problems."""
        for name in dict.fromkeys(job.rows):
            row = self.row(name)
            row.jobs += 1
            row.finished += not problems
            row.billed = (row.billed[0] + billed[0], row.billed[1] + billed[1])
            row.due = (row.due[0] + job.billed[0], row.due[1] + job.billed[1])
        where = ", ".join(job.rows)
        for problem in problems:
            self.violate(f"{job.job_id} ({where}): {problem}")

    def violate(self, what: str) -> None:
        """Note a violation."""
        self.violations.append(what)
        logger.info("VIOLATION %s", what)

    @property
    def injected(self) -> int:
        """Faults in all."""
        return sum(row.tried for row in self.rows.values())

    def lines(self) -> list[str]:
        """The table, the violations, and their count as the last line."""
        width = max([len(name) for name in self.rows] + [20])
        head = f"{'checkpoint or fault':<{width}}  tried   jobs  finished  billed (lip-sync, text)"
        lines = [head, "-" * len(head)]
        for name in sorted(self.rows):
            row = self.rows[name]
            money = f"{row.billed[0]} of {row.due[0]}, {row.billed[1]} of {row.due[1]}"
            lines.append(
                f"{name:<{width}}  {row.tried:>5}  {row.jobs:>5}  {row.finished:>8}  {money}"
            )
        lines.append("-" * len(head))
        lines += [f"VIOLATION {each}" for each in self.violations]
        unmet = [
            name for name in sorted(self.rows) if name != UNDISTURBED and not self.rows[name].tried
        ]
        lines += [f"never met: {name}" for name in unmet]
        lines += [f"ERROR {each}" for each in self.errors]
        lines.append(f"injected faults: {self.injected}")
        lines.append(f"violations: {len(self.violations)}")
        return lines
