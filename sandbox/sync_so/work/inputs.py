"""Get a generation's inputs, look into them, and refuse what the vendor would refuse."""

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


class InputProblem(Exception):
    """An input is refused: the vendor's code, and the HTTP status where it is told at once."""

    def __init__(self, code: str, message: str | None = None, status: int = 400) -> None:
        super().__init__(message or ERROR_CODES[code])
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Inputs:
    """The files of a generation: the picture, each sound by refId ("" without one)."""

    video: Path
    video_probe: Probe
    sounds: dict[str, Path]
    synthesized: bool


async def prepare(emulator: Emulator, request: dict[str, Any], folder: Path) -> Inputs:
    """Fetch what is not there yet, then check it. Raises InputProblem.

    A file under its final name is whole, so a restarted emulator fetches nothing twice.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    video: Path | None = None
    video_probe = Probe()
    sounds: dict[str, Path] = {}
    lengths: dict[str, float] = {}
    synthesized = False
    image = False
    for index, item in enumerate(request["input"]):
        path = folder / f"input-{index}"
        if item["type"] == "text":
            path = folder / "speech.wav"
            await emulator.pool.run(speak, item["provider"]["script"], path)
            synthesized = True
        else:
            await _get(emulator, item, path)
        found: Probe | None = await emulator.pool.run(probe, path)
        if item["type"] in ("video", "image"):
            if found is None or not found.has_video:
                raise InputProblem("generation_input_video_invalid")
            video, video_probe, image = path, found, item["type"] == "image"
        else:
            if found is None or not found.has_audio:
                raise InputProblem("generation_input_audio_invalid")
            reference = item.get("refId") or ""
            sounds[reference], lengths[reference] = path, found.audio_seconds
    assert video is not None
    if image:
        still = folder / "still.mp4"
        seconds = max(lengths.values())
        try:
            await emulator.pool.run(still_video, video, seconds, still)
        except MediaError as error:
            raise InputProblem("generation_input_validation_failed", str(error)) from error
        shown = await emulator.pool.run(probe, still)
        video, video_probe = still, shown or Probe()
    _check_lengths(emulator, request["model"], video_probe)
    _check_boxes(emulator, request, video_probe)
    if emulator.switches["reject_beyond_media_end"]:
        _check_ends(request, video_probe.video_seconds, lengths)
    return Inputs(video, video_probe, sounds, synthesized)


def discard(folder: Path) -> None:
    """Remove the inputs of a generation that is at its end; its results stay."""
    for path in [*folder.glob("input-*"), *folder.glob("still.mp4"), *folder.glob("making*")]:
        path.unlink(missing_ok=True)


async def _get(emulator: Emulator, item: dict[str, Any], path: Path) -> None:
    if await asyncio.to_thread(path.exists):
        return
    kind = item["type"]
    url = item.get("url")
    if url is None:
        asset = emulator.store.get("asset", item["assetId"]) or {}
        url = asset.get("url", "")
    own = uploads.local_file(emulator, url)
    try:
        if own is not None:
            await asyncio.to_thread(shutil.copyfile, own, path)
            return
        async with emulator.downloads:
            await fetch(url, path, max_bytes=INPUT_MAX, timeout=900)
    except (FetchError, OSError) as error:
        raise InputProblem(
            f"generation_input_{kind}_inaccessible", f"The {kind} could not be fetched: {error}"
        ) from error


def _check_lengths(emulator: Emulator, model: str, video: Probe) -> None:
    if max(video.width, video.height) > VIDEO_MAX_WIDTH or (
        min(video.width, video.height) > VIDEO_MAX_HEIGHT
    ):
        raise InputProblem("generation_input_resolution_unsupported")
    longest = MODELS[model].max_seconds
    if longest is not None and video.video_seconds > longest:
        raise InputProblem("generation_model_duration_exceeded")
    longest = PLANS[emulator.switches["plan"]].max_seconds
    if longest is not None and video.video_seconds > longest:
        raise InputProblem("generation_plan_duration_exceeded", status=402)


def _check_boxes(emulator: Emulator, request: dict[str, Any], video: Probe) -> None:
    holders = [request.get("options") or {}]
    holders += [one.get("optionsOverride") or {} for one in request.get("segments") or []]
    for holder in holders:
        boxes = (holder.get("active_speaker_detection") or {}).get("bounding_boxes")
        if boxes is None:
            continue
        null_first = not boxes or boxes[0] is None
        if len(boxes) != video.frames or (
            null_first and emulator.switches["reject_null_first_box"]
        ):
            raise InputProblem("generation_input_face_selection_invalid")


def _check_ends(request: dict[str, Any], video_seconds: float, lengths: dict[str, float]) -> None:
    for segment in request.get("segments") or []:
        if segment["endTime"] > video_seconds + TOLERANCE:
            raise InputProblem("generation_input_segments_invalid")
        audio = segment["audioInput"]
        end = audio.get("endTime")
        if end is not None and end > lengths[audio["refId"]] + TOLERANCE:
            raise InputProblem("generation_input_trim_invalid")
