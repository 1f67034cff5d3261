"""Live progress in a terminal, and lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from pro_video.client import JobEvent
from pro_video.core.progress import Stage

_ROWS: Final = {stage.label: stage.value for stage in Stage}


def console(*, stderr: bool = True) -> Console:
    """The terminal of the standard error, or of the standard output."""
    return Console(stderr=stderr, highlight=False, markup=False)


class StageBars:
    """One bar for each stage, with what the job waits for beside the last one."""

    def __init__(self) -> None:
        self._console = console()
        self._progress = Progress(
            TextColumn("{task.description:24}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[waits]}", markup=False),
            refresh_per_second=4,
            console=self._console,
        )
        self._task: TaskID | None = None
        self._shown = ("", "")

    def __enter__(self) -> StageBars:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: JobEvent) -> None:
        """The job as it is now."""
        stage = event.stage or event.status
        shown, self._shown = self._shown, (stage, event.message)
        if not self._console.is_terminal:
            if shown != self._shown:
                self._console.print(f"{event.progress:3} %  {event.message}", soft_wrap=True)
            return
        row = _ROWS.get(stage)
        if stage != shown[0]:
            # A job that fails or is cancelled leaves its stage as it is.
            self._end_stage(done=row is not None)
            name = row.name if row else stage.capitalize()
            if event.status == "processing":
                self._task = self._progress.add_task(name, total=None, waits="")
        if self._task is not None:
            waits = "" if row and event.message == row.message else event.message
            self._progress.update(self._task, waits=waits)
            if row is not None:
                size = row.end - row.start
                self._progress.update(self._task, total=size, completed=event.progress - row.start)

    def _end_stage(self, *, done: bool) -> None:
        if self._task is not None:
            self._progress.update(self._task, waits="")
            if done:
                self._progress.update(self._task, total=1, completed=1)
            self._progress.stop_task(self._task)
            self._task = None


@contextmanager
def file_bars(verb: str) -> Iterator[Callable[[Path, int, int], None]]:
    """A bar for each file while it is transferred; nothing outside of a terminal.

    Args:
        verb: before the file's name.
    """
    terminal = console()
    tasks: dict[Path, TaskID] = {}
    progress = Progress(
        TextColumn("{task.description:24}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    )

    def show(path: Path, arrived: int, size: int) -> None:
        if path not in tasks:
            tasks[path] = progress.add_task(f"{verb} {path.name}", total=None)
        progress.update(tasks[path], completed=arrived, total=size or None)

    with progress:
        yield show
