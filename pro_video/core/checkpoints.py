"""Named points of a job at which its process may die; recovery is tested at each.

The fault suite observes them to kill the process at each. Without an observer they cost a
function call.
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
"""Every checkpoint. The same name is reached by both provider steps, told apart by ``step``."""

Observer = Callable[[str, str], None]


def _nobody(name: str, step: str) -> None:
    """The observer of a normal process."""


_observer: Observer = _nobody


def reach(name: str, step: str = "") -> None:
    """Say that a checkpoint is reached.

    Args:
        name: one of :data:`NAMES`.
        step: ``lip-sync`` or ``inpainting``, where both pass here.
    """
    _observer(name, step)


def observe(observer: Observer | None) -> None:
    """Let ``observer`` see every checkpoint of this process from now on; None ends that."""
    global _observer
    _observer = observer or _nobody
