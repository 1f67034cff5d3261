"""The life of a run: queued (-1), preparing (-2), processing (0), perhaps draft (-3), ended.

A run stores its decisions (status, time at which it is ready) but no intermediate files: after a
restart it begins again, and ends at the same time as it would have.
"""

import logging
import secrets
from pathlib import Path

from sandbox.common.faults import NO_FAULT, Fault
from sandbox.common.media_pool import WorkerDiedError
from sandbox.common.timing import job_seconds, sleep_until, until_due
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.faults import MEDIA_KINDS
from sandbox.ghostcut.rules import statuses
from sandbox.ghostcut.rules.plan import InvalidPlanError, Plan, read_plan
from sandbox.ghostcut.work import callbacks, points, works
from sandbox.ghostcut.work.inputs import WorkFailedError, download
from sandbox.ghostcut.work.processing import (
    CorruptError,
    NotVideoError,
    SourceInfo,
    copy_source,
    inspect_source,
    render,
)
from sandbox.ghostcut.work.works import Work, is_running
from sandbox.media import MediaError
from sandbox.media.inpainting.inpaint import Mask

logger = logging.getLogger(__name__)

BASE_SECONDS = 120.0
SECONDS_PER_SECOND = 4.0
"""Real processing time, from clips of 3 to 12 s that take 2 to 10 minutes (assumption)."""

PREPARE_AT = 0.05
PROCESS_AT = 0.2
DRAFT_AT = 0.9
"""Fractions of the processing time at which the status changes (assumption)."""


class _StuckError(Exception):
    """The run keeps its present status for ever, as its fault asks."""


class _Schedule:
    """The times of one run, in seconds since the epoch."""

    def __init__(self, emulator: Emulator, work: Work, real_seconds: float, fault: Fault) -> None:
        seconds = job_seconds(emulator.switches, real_seconds)
        if fault.kind == "slow":
            seconds = seconds * fault.number("factor", 1.0) + fault.number("seconds", 5.0)
        self._started, self._seconds = work["started"], seconds
        self.ready = self.at(1.0)

    def at(self, fraction: float) -> float:
        return float(self._started + self._seconds * fraction)


def resume(emulator: Emulator) -> None:
    """Start every run that had not ended when the emulator stopped."""
    for leftover in emulator.sources.iterdir():
        leftover.unlink()
    for work in works.all_works(emulator):
        if is_running(work):
            start(emulator, work)


def start(emulator: Emulator, work: Work) -> None:
    """Begin or continue the current run of a work in the background."""
    emulator.tasks.start(f"work {work['id']} run {work['run']}", _run(emulator, work))


async def _run(emulator: Emulator, work: Work) -> None:
    number = work["id"]
    path = emulator.sources / f"{number}-{work['run']}"
    status, detail, result = statuses.SUCCESS, "", None
    try:
        result = await _process(emulator, work, path)
    except _StuckError:
        return
    except WorkFailedError as failure:
        status, detail, result = failure.status, failure.detail, failure.result
    except Exception:
        # A work without a task would be waited for until the caller's deadline.
        logger.exception("work %s failed with an unexpected error", number)
        status = statuses.UNKNOWN_ERROR
    finally:
        path.unlink(missing_ok=True)
    callbacks.start(emulator, works.end(emulator, number, status, detail=detail, result=result))


async def _process(emulator: Emulator, work: Work, path: Path) -> str:
    """The name of the result, when it is made and due."""
    number, switches = work["id"], emulator.switches
    fault = Fault.parse(work["fault"], None) if work["fault"] else NO_FAULT
    schedule = _Schedule(emulator, work, BASE_SECONDS, fault)
    works.update(emulator, number, ready=schedule.ready)
    _stop_if_stuck(fault, statuses.QUEUED)
    await sleep_until(schedule.at(PREPARE_AT))
    works.update(emulator, number, status=statuses.PREPARING)
    _stop_if_stuck(fault, statuses.PREPARING)
    try:
        plan = read_plan(work["request"], lenient=switches["lenient_validation"])
    except InvalidPlanError as error:
        raise WorkFailedError(statuses.INVALID_DATA, str(error)) from None
    async with emulator.downloads:
        size = await download(work["url"], path, switches)
    info = await _inspect(emulator, path)
    if info.duration > switches["max_seconds"]:
        raise WorkFailedError(int(switches["too_long_status"]))
    seconds = _output_seconds(plan, info.duration)
    price = points.price(switches, plan.tier, seconds)
    works.update(emulator, number, duration=round(info.duration, 3), size=size, price=price)
    if not work["free"] and points.balance(emulator, work["account"]) < price:
        raise WorkFailedError(statuses.NO_POINTS)
    schedule = _Schedule(emulator, work, BASE_SECONDS + SECONDS_PER_SECOND * seconds, fault)
    await sleep_until(schedule.at(PROCESS_AT))
    works.update(emulator, number, status=statuses.PROCESSING, ready=schedule.ready)
    _stop_if_stuck(fault, statuses.PROCESSING)
    failing = fault.kind == "failed"
    status = int(fault.number("status", statuses.ERASE_FAILED))
    if failing and status != statuses.LOCKED:
        await sleep_until(schedule.at(min(1.0, max(0.0, fault.number("at", 1.0)))))
        raise WorkFailedError(status, fault.text("detail", ""))
    result = await _make_result(emulator, work, plan, info, path, fault)
    if switches["show_draft"]:
        await sleep_until(schedule.at(DRAFT_AT))
        works.update(emulator, number, status=statuses.DRAFT)
    await until_due(switches, schedule.ready)
    if failing:
        raise WorkFailedError(status, fault.text("detail", ""), result)
    return result


async def _inspect(emulator: Emulator, path: Path) -> SourceInfo:
    try:
        return await emulator.pool.run(inspect_source, path)
    except NotVideoError as error:
        raise WorkFailedError(statuses.DOWNLOAD_FAILED, str(error)) from None
    except CorruptError:
        raise WorkFailedError(statuses.CORRUPT) from None
    except WorkerDiedError:
        raise WorkFailedError(statuses.ERASE_FAILED) from None


async def _make_result(
    emulator: Emulator, work: Work, plan: Plan, info: SourceInfo, path: Path, fault: Fault
) -> str:
    # The token makes each run's link different, and impossible to guess.
    name = f"{work['id']}-{work['run']}-{secrets.token_hex(8)}.mp4"
    out = emulator.results / name
    if emulator.switches["media"] == "copy":
        await emulator.pool.run(copy_source, path, out)
        return name
    masks = []
    for rule in plan.masks:
        start, end = rule.window(info.duration)
        if end > start:
            masks.append(Mask(rule.kind, start, end, rule.box))
    limit = plan.resolution
    if emulator.switches["resolution_side"] == "height":
        # The renderer takes a limit for the smaller side.
        limit = round(limit * min(info.width, info.height) / info.height)
    try:
        await emulator.pool.run(
            render,
            path,
            out,
            masks,
            whole_frame_text=plan.mode == 1,
            max_height=limit,
            crf=plan.crf,
            cut=plan.cut,
            fault=fault.kind if fault.kind in MEDIA_KINDS else None,
        )
    except MediaError as error:
        raise WorkFailedError(statuses.ERASE_FAILED, str(error)) from None
    except WorkerDiedError:
        raise WorkFailedError(statuses.ERASE_FAILED) from None
    return name


def _stop_if_stuck(fault: Fault, status: int) -> None:
    if fault.kind == "stuck" and fault.number("at", 0) == status:
        raise _StuckError


def _output_seconds(plan: Plan, duration: float) -> float:
    if plan.cut is None:
        return duration
    start, end = plan.cut
    if start >= duration:
        raise WorkFailedError(statuses.INVALID_DATA, "range begins after the end of the video")
    return min(end, duration) - start
