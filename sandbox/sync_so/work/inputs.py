"""The inputs of a generation: fetched, then refused where the vendor would refuse them."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.common.fetch import FetchError, fetch
from sandbox.media import MediaError
from sandbox.sync_so.emulator import Emulator
from sandbox.sync_so.files import uploads
from sandbox.sync_so.rules.tables import (
    ERROR_CODES,
    MODELS,
    PLANS,
    VIDEO_MAX_HEIGHT,
    VIDEO_MAX_WIDTH,
)
from sandbox.sync_so.work.processing import Probe, probe, speak, still_video

INPUT_MAX = 4 * 1024**3
TOLERANCE = 0.001
"""Seconds by which a range may pass the end; the vendor was seen to refuse 2 ms."""


class InputError(Exception):
    """A refused input: the vendor's code, and the HTTP status for a refusal at the create."""

    def __init__(self, code: str, message: str | None = None, status: int = 400) -> None:
        super().__init__(message or ERROR_CODES[code])
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Inputs:
    """The files of a generation: the picture, and each sound by its refId ("" without one)."""

    video: Path
    video_probe: Probe
    sounds: dict[str, Path]
    synthesized: bool


async def prepare(emulator: Emulator, request: dict[str, Any], folder: Path) -> Inputs:
    """Fetch the inputs that are not in the folder yet, then check them. Raises InputError.

    A file appears under its final name when it is whole, so a restart fetches no file twice.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    video, video_probe = folder, Probe()
    sounds: dict[str, Path] = {}
    lengths: dict[str, float] = {}
    for index, item in enumerate(request["input"]):
        path = folder / ("speech.wav" if item["type"] == "text" else f"input-{index}")
        if item["type"] == "text":
            await emulator.pool.run(speak, item["provider"]["script"], path)
        else:
            await _fetch(emulator, item, path)
        found = await emulator.pool.run(probe, path)
        if item["type"] in ("video", "image"):
            if not found.has_video:
                raise InputError("generation_input_video_invalid")
            video, video_probe = path, found
        elif not found.has_audio:
            raise InputError("generation_input_audio_invalid")
        else:
            reference = item.get("refId") or ""
            sounds[reference], lengths[reference] = path, found.audio_seconds
    types = {item["type"] for item in request["input"]}
    if "image" in types:
        image, video = video, folder / "still.mp4"
        try:
            await emulator.pool.run(still_video, image, max(lengths.values()), video)
        except MediaError as error:
            raise InputError("generation_input_validation_failed", str(error)) from error
        video_probe = await emulator.pool.run(probe, video)
    _check_limits(emulator, request["model"], video_probe)
    _check_boxes(emulator, request, video_probe)
    if emulator.switches["reject_beyond_media_end"]:
        _check_ends(request, video_probe.video_seconds, lengths)
    return Inputs(video, video_probe, sounds, "text" in types)


def discard(folder: Path) -> None:
    """Remove the inputs of a generation that has ended; its results stay."""
    for path in [*folder.glob("input-*"), *folder.glob("still.mp4"), *folder.glob("making*")]:
        path.unlink(missing_ok=True)


async def _fetch(emulator: Emulator, item: dict[str, Any], path: Path) -> None:
    if await asyncio.to_thread(path.exists):
        return
    url = item.get("url")
    if url is None:
        url = (emulator.store.get("asset", item["assetId"]) or {}).get("url", "")
    uploaded = uploads.local_file(emulator, url)
    try:
        if uploaded is not None:
            await asyncio.to_thread(shutil.copyfile, uploaded, path)
            return
        async with emulator.downloads:
            await fetch(url, path, max_bytes=INPUT_MAX, timeout=900)
    except (FetchError, OSError) as error:
        kind = item["type"]
        message = f"The {kind} could not be fetched: {error}"
        raise InputError(f"generation_input_{kind}_inaccessible", message) from error


def _check_limits(emulator: Emulator, model: str, video: Probe) -> None:
    sides = sorted((video.width, video.height))
    if sides[1] > VIDEO_MAX_WIDTH or sides[0] > VIDEO_MAX_HEIGHT:
        raise InputError("generation_input_resolution_unsupported")
    longest = MODELS[model].max_seconds
    if longest is not None and video.video_seconds > longest:
        raise InputError("generation_model_duration_exceeded")
    longest = PLANS[emulator.switches["plan"]].max_seconds
    if longest is not None and video.video_seconds > longest:
        raise InputError("generation_plan_duration_exceeded", status=402)


def _check_boxes(emulator: Emulator, request: dict[str, Any], video: Probe) -> None:
    options = [request.get("options") or {}]
    options += [one.get("optionsOverride") or {} for one in request.get("segments") or []]
    for each in options:
        boxes = (each.get("active_speaker_detection") or {}).get("bounding_boxes")
        if boxes is None:
            continue
        null_first = not boxes or boxes[0] is None
        if len(boxes) != video.frames or (
            null_first and emulator.switches["reject_null_first_box"]
        ):
            raise InputError("generation_input_face_selection_invalid")


def _check_ends(request: dict[str, Any], video_seconds: float, lengths: dict[str, float]) -> None:
    for segment in request.get("segments") or []:
        if segment["endTime"] > video_seconds + TOLERANCE:
            raise InputError("generation_input_segments_invalid")
        audio = segment["audioInput"]
        end = audio.get("endTime")
        if end is not None and end > lengths[audio["refId"]] + TOLERANCE:
            raise InputError("generation_input_trim_invalid")
