"""The life of a generation after it was accepted.

PENDING while its inputs are fetched and looked into, PROCESSING until it is both processed and
due, then COMPLETED (billed), FAILED or REJECTED (not billed). Each change is stored before anything
follows from it, so after a crash `resume` goes on with every generation that was not at its end.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from sandbox.kit.faults import Fault
from sandbox.kit.media_pool import WorkerDiedError
from sandbox.kit.timing import job_seconds, sleep_until
from sandbox.media import MediaError
from sandbox.media.lip_sync.lip_sync import LipSyncResult, SegmentPlan
from sandbox.sync_so.catalogue import ERROR_CODES, expected_seconds
from sandbox.sync_so.emulator import ACTIVE, GENERATION, Emulator, Record
from sandbox.sync_so.fault_names import MEDIA_KINDS
from sandbox.sync_so.inputs import InputProblem, Inputs, discard, prepare
from sandbox.sync_so.media_work import process
from sandbox.sync_so.webhooks import deliver

logger = logging.getLogger(__name__)


def start(emulator: Emulator, id: str) -> None:
    """Go on with a generation in the background, unless that is happening already."""
    emulator.tasks.start(f"generation {id}", _run(emulator, id))


def resume(emulator: Emulator) -> None:
    """Go on with all that a crash or a restart interrupted."""
    for record in emulator.store.all(GENERATION):
        if record["status"] in ACTIVE:
            start(emulator, record["id"])


async def _run(emulator: Emulator, id: str) -> None:
    try:
        await _lead(emulator, id)
    except Exception:
        # A generation that nothing works on any more would be waited for until the deadline.
        logger.exception("generation %s met an error that nobody expected", id)
        record = emulator.generation(id)
        if record is not None and record["status"] in ACTIVE:
            await _end(emulator, record, "FAILED", "generation_unknown_error")


async def _lead(emulator: Emulator, id: str) -> None:
    record = emulator.generation(id)
    if record is None:
        return
    raw = record.get("fault")
    fault = Fault.parse(raw, None) if raw else None
    kind = fault.kind if fault is not None else ""
    if fault is not None and kind == "stuck" and fault.text("status", "") == "PENDING":
        return
    if fault is not None and kind == "rejected":
        await sleep_until(record["created"] + fault.number("seconds", 0.0))
        reason = fault.text("code", "generation_input_validation_failed")
        await _end(emulator, record, "REJECTED", reason, fault.params.get("message"))
        return
    if record.get("refused"):
        await _end(
            emulator,
            record,
            _bad_end(emulator.switches["segment_errors"]),
            "generation_input_segments_invalid",
            record["refused"],
        )
        return
    try:
        inputs = await prepare(emulator, record["request"], emulator.folder(id))
    except InputProblem as problem:
        status = _bad_end(emulator.switches["media_errors"])
        await _end(emulator, record, status, problem.code, str(problem))
        return
    except WorkerDiedError:
        await _end(emulator, record, "FAILED", "generation_media_probe_unavailable")
        return
    record = _begin(emulator, record, inputs, fault)
    if kind == "stuck":
        return
    if fault is not None and kind in ("failed", "unknown_status"):
        await sleep_until(record["doneAt"])
        status = fault.text("status", "CANCELED") if kind == "unknown_status" else "FAILED"
        code = fault.text("code", "generation_unknown_error") if kind == "failed" else None
        await _end(emulator, record, status, code, fault.params.get("message"))
        return
    if record.get("result") is None:
        try:
            made = await _process(emulator, record, inputs, kind)
        except MediaError as error:
            await _end(emulator, record, "FAILED", "generation_pipeline_failed", str(error))
            return
        except WorkerDiedError:
            await _end(emulator, record, "FAILED", "generation_infra_resource_exhausted")
            return
        except OSError as error:
            reason = error.strerror or type(error).__name__
            await _end(emulator, record, "FAILED", "generation_infra_storage_error", reason)
            return
        result = {
            "duration": made.duration,
            "frames": made.frames,
            "width": made.width,
            "height": made.height,
            "segmented": bool(record["request"].get("segments")),
            "synthesized": inputs.synthesized,
        }
        record = emulator.change(id, result=result)
    await sleep_until(record["doneAt"])
    await _end(emulator, record, "COMPLETED")


def _begin(emulator: Emulator, record: Record, inputs: Inputs, fault: Fault | None) -> Record:
    """PROCESSING; when it is due is fixed here, once."""
    if record["status"] == "PROCESSING":
        return record
    now = time.time()
    real = expected_seconds(record["request"]["model"], inputs.video_probe.video_seconds)
    seconds = job_seconds(emulator.switches, real)
    if fault is not None and fault.kind == "slow":
        seconds += fault.number("seconds", 60.0)
    return emulator.change(
        record["id"],
        status="PROCESSING",
        processingAt=now,
        doneAt=max(now, record["created"] + seconds),
    )


async def _process(emulator: Emulator, record: Record, inputs: Inputs, kind: str) -> LipSyncResult:
    folder = emulator.folder(record["id"])
    if emulator.switches["media"] == "copy":
        return _copy(inputs, folder)
    request = record["request"]
    mode = (request.get("options") or {}).get("sync_mode")
    segments = [_plan(segment, inputs.sounds) for segment in request.get("segments") or []]
    whole = None if segments else next(iter(inputs.sounds.values()))
    # A still shown for as long as its sound lasts has nothing to fit: the mode is ignored.
    if any(item["type"] == "image" for item in request["input"]):
        mode = "cut_off"
    return await emulator.pool.run(
        process,
        inputs.video,
        folder,
        segments,
        whole,
        mode,
        kind if kind in MEDIA_KINDS else None,
    )


def _plan(segment: dict[str, Any], sounds: dict[str, Path]) -> SegmentPlan:
    audio = segment["audioInput"]
    return SegmentPlan(
        start=float(segment["startTime"]),
        end=float(segment["endTime"]),
        audio=sounds[audio["refId"]],
        audio_start=audio.get("startTime"),
        audio_end=audio.get("endTime"),
        sync_mode=(segment.get("optionsOverride") or {}).get("sync_mode"),
    )


def _copy(inputs: Inputs, folder: Path) -> LipSyncResult:
    """The input as the result, for tests of thousands of jobs that look at no picture."""
    for name in ("output.mp4", "segments.mp4"):
        target = folder / name
        target.unlink(missing_ok=True)
        target.hardlink_to(inputs.video)
    found = inputs.video_probe
    return LipSyncResult(found.video_seconds, found.frames, found.width, found.height)


def _bad_end(delivery: str) -> str:
    return "REJECTED" if delivery == "rejected" else "FAILED"


async def _end(
    emulator: Emulator,
    record: Record,
    status: str,
    code: str | None = None,
    message: object = None,
) -> None:
    """The terminal state, its bill in the same write, then the webhook."""
    if code is not None:
        text = str(message) if message else ERROR_CODES.get(code, "Processing failed.")
    else:
        text = None
    billed = int(status == "COMPLETED")
    record = emulator.change(
        record["id"],
        status=status,
        endedAt=time.time(),
        error=text,
        errorCode=code,
        billed=billed,
        framesBilled=record["result"]["frames"] if billed else 0,
    )
    await asyncio.to_thread(discard, emulator.folder(record["id"]))
    await deliver(emulator, record)
