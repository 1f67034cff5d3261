"""Named points of a job; the fault suite kills the process at each and tests the recovery.

Without an observer a point costs a function call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NAMES: Final = frozenset(
    {
        "upload.begin",
        "upload.part",
        "upload.file-stored",
        "upload.done",
        "probe.done",
        "prepare.before-persist",
        "prepare.persisted",
        "submit.before-mark",
        "submit.marked",
        "submit.before-send",
        "submit.answered",
        "wait.before-look",
        "wait.looked",
        "wait.ended",
        "store.begin",
        "store.part",
        "store.stored",
        "verify.begin",
        "verify.done",
        "attempt.closing",
        "attempt.closed",
        "progress.before-state",
        "progress.state-written",
        "report.begin",
        "report.written",
        "ending.final",
    }
)
"""Every checkpoint. Both provider steps reach the same names and differ by ``step``."""

Observer = Callable[[str, str], None]


_observer: Observer | None = None


def reach(name: str, step: str = "") -> None:
    """Reach a checkpoint.

    Args:
        name: one of :data:`NAMES`.
        step: ``lip-sync`` or ``inpainting``, at checkpoints of both.
    """
    if _observer is not None:
        _observer(name, step)


def observe(observer: Observer | None) -> None:
    """Call ``observer`` at every checkpoint of this process; None ends that."""
    global _observer
    _observer = observer
