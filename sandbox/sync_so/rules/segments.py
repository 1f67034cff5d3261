"""Rules for `segments` that need no media."""

import math
from collections.abc import Collection
from typing import Any

from sandbox.common.settings import SwitchBoard
from sandbox.sync_so.responses import invalid
from sandbox.sync_so.rules.options import OVERRIDES, check_options, is_number
from sandbox.sync_so.rules.tables import ERROR_CODES

CODE = "generation_input_segments_invalid"
_SEGMENT = {"startTime", "endTime", "audioInput", "optionsOverride"}
_AUDIO = {"refId", "startTime", "endTime"}


def check_segments(segments: Any, references: set[str], switches: SwitchBoard) -> str | None:
    """Raise ApiError for a malformed list; return the message for overlapping ranges, or None.

    The switch `segment_errors` decides how overlapping ranges are refused.
    """
    if not isinstance(segments, list) or not segments:
        raise invalid("segments must be a non-empty array", "segments")
    for index, segment in enumerate(segments):
        _check_segment(f"segments.{index}", segment, references, switches)
    touching = switches["reject_touching_segments"]
    previous = -math.inf
    for segment in sorted(segments, key=lambda one: (one["startTime"], one["endTime"])):
        if segment["startTime"] < previous or (touching and segment["startTime"] == previous):
            return ERROR_CODES[CODE]
        previous = segment["endTime"]
    return None


def _check_segment(where: str, segment: Any, references: set[str], switches: SwitchBoard) -> None:
    strict = switches["reject_unknown_segment_keys"]
    _check_object(where, segment, _SEGMENT if strict else None)
    for name in ("startTime", "endTime"):
        if not is_number(segment.get(name)) or segment[name] < 0:
            raise invalid(f"{where}.{name} must be a number of seconds from 0", "segments")
    if segment["startTime"] > segment["endTime"]:
        raise invalid(f"{where}: startTime must not be after endTime", "segments", CODE)
    audio = segment.get("audioInput")
    _check_object(f"{where}.audioInput", audio, _AUDIO if strict else None)
    _check_crop(f"{where}.audioInput", audio.get("startTime"), audio.get("endTime"))
    reference = audio.get("refId")
    if not isinstance(reference, str) or not reference:
        raise invalid(f"{where}.audioInput.refId must be a non-empty string", "segments")
    if reference not in references:
        message = f"{where}.audioInput.refId does not name an audio or text input"
        raise invalid(message, "segments", CODE)
    override = segment.get("optionsOverride")
    if override is not None:
        if switches["segment_options"] == "off":
            message = "Invalid segments: property optionsOverride does not exist"
            raise invalid(message, "segments", status=422)
        check_options(override, known=OVERRIDES, where=f"{where}.optionsOverride")


def _check_object(where: str, value: Any, known: Collection[str] | None) -> None:
    if not isinstance(value, dict):
        raise invalid(f"{where} must be an object", "segments")
    if known is not None and (unknown := set(value) - set(known)):
        message = f"{where}: property {sorted(unknown)[0]} does not exist"
        raise invalid(message, "segments", CODE)


def _check_crop(where: str, start: Any, end: Any) -> None:
    if (start is None) != (end is None):
        raise invalid(f"{where} needs both startTime and endTime, or neither", "segments")
    if start is not None and not (is_number(start) and is_number(end) and 0 <= start <= end):
        message = f"{where}: startTime must be from 0 and not after endTime"
        raise invalid(message, "segments", "generation_input_trim_invalid")
