"""The life of a generation after it was accepted.

PENDING while its inputs are fetched and checked, PROCESSING until it is processed and due, then
COMPLETED (billed), FAILED or REJECTED (not billed). Every change is stored before it has an effect,
so that `resume` continues after a crash.
"""

import asyncio
import logging
import time
from typing import Any

from sandbox.common.faults import NO_FAULT, Fault
from sandbox.common.media_pool import WorkerDiedError
from sandbox.common.timing import job_seconds, sleep_until, until_due
from sandbox.media import MediaError
from sandbox.media.lip_sync.lip_sync import FaceError, LipSyncResult, SegmentPlan
from sandbox.sync_so.emulator import ACTIVE, GENERATION, Emulator, Record
from sandbox.sync_so.faults import MEDIA_KINDS
from sandbox.sync_so.rules.tables import ERROR_CODES, expected_seconds
from sandbox.sync_so.work.inputs import InputError, Inputs, discard, prepare
from sandbox.sync_so.work.processing import process
from sandbox.sync_so.work.webhooks import deliver

logger = logging.getLogger(__name__)


class _NotCompletedError(Exception):
    """The generation ends in this status; `message` replaces the code's own text."""

    def __init__(self, status: str, code: str | None, message: object = None) -> None:
        self.status = status
        self.code = code
        self.message = str(message or ERROR_CODES.get(code or "", "Processing failed."))
        super().__init__(f"{status} {code}")


class _StuckError(Exception):
    """The generation keeps its status for ever, as its fault asks."""


def start(emulator: Emulator, id: str) -> None:
    """Continue a generation in the background, unless that is happening already."""
    emulator.tasks.start(f"generation {id}", _run(emulator, id))


def resume(emulator: Emulator) -> None:
    """Continue the generations that had not ended when the emulator stopped."""
    for record in emulator.store.all(GENERATION):
        if record["status"] in ACTIVE:
            start(emulator, record["id"])


async def _run(emulator: Emulator, id: str) -> None:
    record = emulator.generation(id)
    if record is None:
        return
    ended: dict[str, Any] = {"status": "COMPLETED", "error": None, "errorCode": None}
    try:
        frames = await _complete(emulator, record)
        ended.update(billed=1, framesBilled=frames)
    except _StuckError:
        return
    except _NotCompletedError as end:
        message = end.message if end.code is not None else None
        ended.update(status=end.status, error=message, errorCode=end.code)
    except Exception:
        # A generation without a task would be waited for until the caller's deadline.
        logger.exception("generation %s failed with an unexpected error", id)
        code = "generation_unknown_error"
        ended.update(status="FAILED", error=ERROR_CODES[code], errorCode=code)
    # State and bill are one write.
    record = emulator.change(id, endedAt=time.time(), **ended)
    await asyncio.to_thread(discard, emulator.folder(id))
    await deliver(emulator, record)


async def _complete(emulator: Emulator, record: Record) -> int:
    """Return the number of output frames when the generation is done and due."""
    fault = Fault.parse(record["fault"], None) if record.get("fault") else NO_FAULT
    if fault.kind == "stuck" and fault.text("status", "") == "PENDING":
        raise _StuckError
    if fault.kind == "rejected":
        await sleep_until(record["created"] + fault.number("seconds", 0.0))
        code = fault.text("code", "generation_input_validation_failed")
        raise _NotCompletedError("REJECTED", code, fault.params.get("message"))
    if record.get("refused"):
        status = _refusal_status(emulator, "segment_errors")
        raise _NotCompletedError(status, "generation_input_segments_invalid", record["refused"])
    try:
        inputs = await prepare(emulator, record["request"], emulator.folder(record["id"]))
    except InputError as error:
        status = _refusal_status(emulator, "media_errors")
        raise _NotCompletedError(status, error.code, error) from None
    except WorkerDiedError:
        raise _NotCompletedError("FAILED", "generation_media_probe_unavailable") from None
    record = _begin(emulator, record, inputs, fault)
    if fault.kind == "stuck":
        raise _StuckError
    if fault.kind in ("failed", "unknown_status"):
        await until_due(emulator.switches, record["doneAt"])
        if fault.kind == "unknown_status":
            raise _NotCompletedError(fault.text("status", "CANCELED"), None)
        code = fault.text("code", "generation_unknown_error")
        raise _NotCompletedError("FAILED", code, fault.params.get("message"))
    if emulator.switches["segment_options"] == "failed" and _names_speakers(record["request"]):
        await sleep_until(record["doneAt"])
        raise _NotCompletedError("FAILED", "generation_unknown_error")
    if record.get("result") is None:
        record = emulator.change(
            record["id"], result=await _process(emulator, record, inputs, fault)
        )
    await until_due(emulator.switches, record["doneAt"])
    return int(record["result"]["frames"])


def _refusal_status(emulator: Emulator, switch: str) -> str:
    return "REJECTED" if emulator.switches[switch] == "rejected" else "FAILED"


def _begin(emulator: Emulator, record: Record, inputs: Inputs, fault: Fault) -> Record:
    """PROCESSING; the time when it is due is fixed here, once."""
    if record["status"] == "PROCESSING":
        return record
    now = time.time()
    real = expected_seconds(record["request"]["model"], inputs.video_probe.video_seconds)
    seconds = job_seconds(emulator.switches, real)
    if fault.kind == "slow":
        seconds += fault.number("seconds", 60.0)
    due = max(now, record["created"] + seconds)
    return emulator.change(record["id"], status="PROCESSING", processingAt=now, doneAt=due)


async def _process(
    emulator: Emulator, record: Record, inputs: Inputs, fault: Fault
) -> dict[str, Any]:
    """The stored description of the result."""
    try:
        made = await _make_files(emulator, record, inputs, fault)
    except FaceError as error:
        code = "generation_input_face_selection_invalid"
        raise _NotCompletedError("FAILED", code, error) from None
    except MediaError as error:
        raise _NotCompletedError("FAILED", "generation_pipeline_failed", error) from None
    except WorkerDiedError:
        raise _NotCompletedError("FAILED", "generation_infra_resource_exhausted") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _NotCompletedError("FAILED", "generation_infra_storage_error", reason) from None
    return {
        "duration": made.duration,
        "frames": made.frames,
        "segmented": bool(record["request"].get("segments")),
        "synthesized": inputs.synthesized,
    }


async def _make_files(
    emulator: Emulator, record: Record, inputs: Inputs, fault: Fault
) -> LipSyncResult:
    folder, request = emulator.folder(record["id"]), record["request"]
    if emulator.switches["media"] == "copy":
        for name in ("output.mp4", "segments.mp4"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).hardlink_to(inputs.video)
        video = inputs.video_probe
        return LipSyncResult(video.video_seconds, video.frames, video.width, video.height)
    mode = (request.get("options") or {}).get("sync_mode")
    # A still lasts as long as its sound, so the mode is ignored.
    if any(item["type"] == "image" for item in request["input"]):
        mode = "cut_off"
    stored = emulator.switches["speaker_pixels"] == "stored"
    options = request.get("options") or {}
    segments = [
        _plan(segment, inputs, options, stored) for segment in request.get("segments") or []
    ]
    whole = None if segments else next(iter(inputs.sounds.values()))
    kind = fault.kind if fault.kind in MEDIA_KINDS else None
    return await emulator.pool.run(process, inputs.video, folder, segments, whole, mode, kind)


def _plan(
    segment: dict[str, Any], inputs: Inputs, options: dict[str, Any], stored: bool
) -> SegmentPlan:
    audio, override = segment["audioInput"], segment.get("optionsOverride") or {}
    return SegmentPlan(
        start=float(segment["startTime"]),
        end=float(segment["endTime"]),
        audio=inputs.sounds[audio["refId"]],
        audio_start=audio.get("startTime"),
        audio_end=audio.get("endTime"),
        sync_mode=override.get("sync_mode"),
        face=_face(
            override.get("active_speaker_detection") or options.get("active_speaker_detection")
        ),
        face_is_stored=stored,
    )


def _names_speakers(request: dict[str, Any]) -> bool:
    segments = request.get("segments") or []
    return any("active_speaker_detection" in (one.get("optionsOverride") or {}) for one in segments)


def _face(speaker: dict[str, Any] | None) -> tuple[int, int] | None:
    """The pixel that a selection names: its point, or the middle of its first box."""
    if not speaker:
        return None
    if speaker.get("coordinates") is not None:
        x, y = speaker["coordinates"]
        return x, y
    box = next((box for box in speaker.get("bounding_boxes") or [] if box), None)
    return None if box is None else ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
