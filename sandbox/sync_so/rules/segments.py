"""Rules for `segments` that need no media."""

import math
from typing import Any

from sandbox.common.settings import SwitchBoard
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.options import check_options, is_number

CODE = "generation_input_segments_invalid"
MESSAGE = "The segments configuration is invalid."

_SEGMENT_KEYS = {"startTime", "endTime", "audioInput", "optionsOverride"}
_AUDIO_KEYS = {"refId", "startTime", "endTime"}
_OVERRIDES = {
    "sync_mode",
    "temperature",
    "occlusion_detection_enabled",
    "active_speaker_detection",
}


def check_segments(segments: Any, references: set[str], switches: SwitchBoard) -> str | None:
    """Raise ApiError for a malformed list; return why its ranges are refused, or None.

    The second kind is delivered as the switch `segment_errors` says.
    """
    if not isinstance(segments, list) or not segments:
        raise invalid("segments must be a non-empty array", "segments")
    for index, segment in enumerate(segments):
        _check_one(f"segments.{index}", segment, references, switches)
    return _check_ranges(segments, switches)


def _check_one(where: str, segment: Any, references: set[str], switches: SwitchBoard) -> None:
    if not isinstance(segment, dict):
        raise invalid(f"{where} must be an object", "segments")
    strict = switches["reject_unknown_segment_keys"]
    if strict and (unknown := set(segment) - _SEGMENT_KEYS):
        raise _refused(f"{where}: property {sorted(unknown)[0]} does not exist")
    for name in ("startTime", "endTime"):
        if not is_number(segment.get(name)) or segment[name] < 0:
            raise invalid(f"{where}.{name} must be a number of seconds from 0", "segments")
    if segment["startTime"] > segment["endTime"]:
        raise _refused(f"{where}: startTime must not be after endTime")
    audio = segment.get("audioInput")
    if not isinstance(audio, dict):
        raise invalid(f"{where}.audioInput must be an object", "segments")
    if strict and (unknown := set(audio) - _AUDIO_KEYS):
        raise _refused(f"{where}.audioInput: property {sorted(unknown)[0]} does not exist")
    reference = audio.get("refId")
    if not isinstance(reference, str) or not reference:
        raise invalid(f"{where}.audioInput.refId must be a non-empty string", "segments")
    if reference not in references:
        raise _refused(f"{where}.audioInput.refId does not name an audio or text input")
    _check_crop(where, audio)
    override = segment.get("optionsOverride")
    if override is not None:
        check_options(override, allowed=_OVERRIDES, where=f"{where}.optionsOverride")


def _check_crop(where: str, audio: dict[str, Any]) -> None:
    start, end = audio.get("startTime"), audio.get("endTime")
    if (start is None) != (end is None):
        raise invalid(
            f"{where}.audioInput needs both startTime and endTime, or neither", "segments"
        )
    if start is None:
        return
    if not is_number(start) or not is_number(end) or start < 0 or start > end:
        raise ApiError(
            400,
            f"{where}.audioInput: startTime must be from 0 and not after endTime",
            "generation_input_trim_invalid",
            field="segments",
            listed=True,
        )


def _check_ranges(segments: list[dict[str, Any]], switches: SwitchBoard) -> str | None:
    touching = switches["reject_touching_segments"]
    previous = -math.inf
    for segment in sorted(segments, key=lambda one: (one["startTime"], one["endTime"])):
        if segment["startTime"] < previous or (touching and segment["startTime"] == previous):
            return MESSAGE
        previous = segment["endTime"]
    return None


def _refused(message: str) -> ApiError:
    return invalid(message, "segments", CODE)
