"""The life of a run: queued (-1), preparing (-2), processing (0), perhaps draft (-3), ended.

A run persists what it decides (status, time at which it is ready) and nothing of its work; after a
restart it is simply run again from the start and ends at the same time as it would have.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path

from sandbox.ghostcut import statuses
from sandbox.ghostcut.media_work import (
    CorruptError,
    NotVideoError,
    SourceInfo,
    copy_source,
    inspect_source,
    render,
)
from sandbox.ghostcut.plan import InvalidPlanError, Plan, read_plan
from sandbox.ghostcut.points import Points
from sandbox.ghostcut.source import WorkFailedError, download
from sandbox.ghostcut.switches import Switches
from sandbox.ghostcut.works import Work, WorkBook, is_running
from sandbox.kit.faults import Fault
from sandbox.kit.media_pool import MediaPool, WorkerDiedError
from sandbox.kit.timing import Tasks, job_seconds, sleep_until
from sandbox.media import MediaError
from sandbox.media.inpainting import inpaint
from sandbox.media.inpainting.inpaint import Mask

logger = logging.getLogger(__name__)

BASE_SECONDS = 120.0
SECONDS_PER_SECOND = 4.0
"""Real processing time, from clips of 3 to 12 s that take 2 to 10 minutes (assumption)."""

DOWNLOADS = 8
"""Sources fetched at once; the other works wait in status -2."""

PREPARE_AT = 0.05
PROCESS_AT = 0.2
DRAFT_AT = 0.9
"""Fractions of the processing time at which the status changes (assumption)."""

MEDIA_FAULTS = frozenset(inpaint.FAULTS)


class _StuckError(Exception):
    """The run stays in its present status for ever, as its fault asks."""


class Runner:
    """Runs works in the background; `on_end` is told the id of each work that has ended."""

    def __init__(
        self,
        book: WorkBook,
        points: Points,
        switches: Switches,
        pool: MediaPool,
        tasks: Tasks,
        folder: Path,
        on_end: Callable[[Work], None],
    ) -> None:
        self._book = book
        self._points = points
        self._switches = switches
        self._pool = pool
        self._tasks = tasks
        self._sources = folder / "sources"
        self._results = folder / "results"
        self._on_end = on_end
        self._slots = asyncio.Semaphore(DOWNLOADS)
        for each in (self._sources, self._results):
            each.mkdir(parents=True, exist_ok=True)

    def resume(self) -> None:
        """Start every run that had not ended when the emulator stopped."""
        for leftover in self._sources.iterdir():
            leftover.unlink()
        for work in self._book.all():
            if is_running(work):
                self.start(work)

    def start(self, work: Work) -> None:
        """Begin or continue the current run of a work."""
        self._tasks.start(f"work {work['id']} run {work['run']}", self._run(work))

    async def _run(self, work: Work) -> None:
        number = work["id"]
        fault = Fault.parse(work["fault"], None) if work["fault"] else None
        path = self._sources / f"{number}-{work['run']}"
        try:
            result = await self._process(work, fault, path)
            ended = self._book.end(number, statuses.SUCCESS, result=result, detail="")
        except _StuckError:
            return
        except WorkFailedError as failure:
            ended = self._book.end(
                number, failure.status, detail=failure.detail, result=failure.result
            )
        except Exception:
            # A work that nothing works on any more would be waited for until the deadline.
            logger.exception("work %s met an error that nobody expected", number)
            ended = self._book.end(number, statuses.UNKNOWN_ERROR, detail="")
        finally:
            path.unlink(missing_ok=True)
        self._on_end(ended)

    async def _process(self, work: Work, fault: Fault | None, path: Path) -> str:
        number = work["id"]
        pace = self._pace(work, BASE_SECONDS, fault)
        failing = fault if fault and fault.kind == "failed" else None
        self._book.update(number, ready=pace.ready)
        _hold(fault, statuses.QUEUED)
        await sleep_until(pace.at(PREPARE_AT))
        self._book.update(number, status=statuses.PREPARING)
        _hold(fault, statuses.PREPARING)
        plan = self._plan(work)
        async with self._slots:
            size = await download(work["url"], path, self._switches)
        info = await self._inspect(path)
        if info.duration > self._switches.max_seconds:
            raise WorkFailedError(int(self._switches.too_long_status))
        seconds = _length(plan, info.duration)
        price = self._points.price(plan.tier, seconds)
        self._book.update(number, duration=round(info.duration, 3), size=size, price=price)
        if not work["free"] and self._points.balance(work["account"]) < price:
            raise WorkFailedError(statuses.NO_POINTS)
        pace = self._pace(work, BASE_SECONDS + SECONDS_PER_SECOND * seconds, fault)
        await sleep_until(pace.at(PROCESS_AT))
        self._book.update(number, status=statuses.PROCESSING, ready=pace.ready)
        _hold(fault, statuses.PROCESSING)
        if failing is not None and (status := _status(failing)) != statuses.LOCKED:
            await sleep_until(pace.at(min(1.0, max(0.0, failing.number("at", 1.0)))))
            raise WorkFailedError(status, failing.text("detail", ""))
        result = await self._render(work, plan, info, path, fault)
        if self._switches.show_draft:
            await sleep_until(pace.at(DRAFT_AT))
            self._book.update(number, status=statuses.DRAFT)
        await sleep_until(pace.ready)
        if failing is not None:
            raise WorkFailedError(statuses.LOCKED, failing.text("detail", ""), result)
        return result

    def _pace(self, work: Work, real_seconds: float, fault: Fault | None) -> "_Pace":
        seconds = job_seconds(self._switches.board, real_seconds)
        if fault is not None and fault.kind == "slow":
            seconds = seconds * fault.number("factor", 1.0) + fault.number("seconds", 5.0)
        return _Pace(work["started"], seconds)

    def _plan(self, work: Work) -> Plan:
        try:
            return read_plan(work["request"], lenient=self._switches.lenient_validation)
        except InvalidPlanError as error:
            raise WorkFailedError(statuses.INVALID_DATA, str(error)) from None

    async def _inspect(self, path: Path) -> SourceInfo:
        try:
            return await self._pool.run(inspect_source, path)
        except NotVideoError as error:
            raise WorkFailedError(statuses.DOWNLOAD_FAILED, str(error)) from None
        except CorruptError:
            raise WorkFailedError(statuses.CORRUPT) from None
        except WorkerDiedError:
            raise WorkFailedError(statuses.ERASE_FAILED) from None

    async def _render(
        self, work: Work, plan: Plan, info: SourceInfo, path: Path, fault: Fault | None
    ) -> str:
        # The token makes the link of each run another one, which nobody can guess.
        name = f"{work['id']}-{work['run']}-{secrets.token_hex(8)}.mp4"
        out = self._results / name
        if self._switches.media == "copy":
            await self._pool.run(copy_source, path, out)
            return name
        masks = []
        for rule in plan.masks:
            start, end = rule.window(info.duration)
            if end > start:
                masks.append(Mask(rule.kind, start, end, rule.box))
        side = min(info.width, info.height)
        by_height = self._switches.resolution_side == "height"
        # The renderer takes a limit for the smaller side.
        limit = round(plan.resolution * side / info.height) if by_height else plan.resolution
        try:
            await self._pool.run(
                render,
                path,
                out,
                masks,
                whole_frame_text=plan.mode == 1,
                max_height=limit,
                crf=plan.crf,
                cut=plan.cut,
                fault=fault.kind if fault and fault.kind in MEDIA_FAULTS else None,
            )
        except MediaError as error:
            raise WorkFailedError(statuses.ERASE_FAILED, str(error)) from None
        except WorkerDiedError:
            raise WorkFailedError(statuses.ERASE_FAILED) from None
        return name


class _Pace:
    """Wall-clock times of one run, seconds since the epoch."""

    def __init__(self, started: float, seconds: float) -> None:
        self._started = started
        self._seconds = seconds
        self.ready = started + seconds

    def at(self, fraction: float) -> float:
        return self._started + self._seconds * fraction


def _hold(fault: Fault | None, status: int) -> None:
    if fault is not None and fault.kind == "stuck" and fault.number("at", 0) == status:
        raise _StuckError


def _status(fault: Fault) -> int:
    return int(fault.number("status", statuses.ERASE_FAILED))


def _length(plan: Plan, duration: float) -> float:
    if plan.cut is None:
        return duration
    start, end = plan.cut
    if start >= duration:
        raise WorkFailedError(statuses.INVALID_DATA, "range begins after the end of the video")
    return min(end, duration) - start
