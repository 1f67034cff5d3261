"""Rules for `options` and `optionsOverride`."""

import math
from collections.abc import Collection
from typing import Any

from sandbox.sync_so.responses import ApiError, invalid

SYNC_MODES = ("bounce", "loop", "cut_off", "silence", "remap")
_MODEL_MODES = ("lips", "face", "head")
_PROMPTS = ("happy", "sad", "angry", "disgusted", "surprised", "neutral")

OVERRIDES = frozenset(
    {"sync_mode", "temperature", "occlusion_detection_enabled", "active_speaker_detection"}
)
"""The members of `optionsOverride`."""

_KNOWN = OVERRIDES | {
    "model_mode",
    "prompt",
    "reasoning_enabled",
    # Older or undocumented; the vendor was seen to take them.
    "output_format",
    "fps",
    "output_resolution",
    "pads",
    "speedup",
    "active_speaker",
    "prompt_image_uris",
    "i2v_prompt",
    "blending_mode",
    "face_boxes_url",
    "output_bucket_name",
}
_SPEAKER = frozenset(
    {"auto_detect", "v3", "frame_number", "coordinates", "bounding_boxes", "bounding_boxes_url"}
)


def is_number(value: Any) -> bool:
    """A finite JSON number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_options(options: Any, *, known: Collection[str] = _KNOWN, where: str = "options") -> None:
    """Raise ApiError: 422 for an unknown member, 400 for a bad value."""
    if not isinstance(options, dict):
        raise invalid(f"{where} must be an object", where)
    _check_names(options, known, where)
    for name, choices in (
        ("sync_mode", SYNC_MODES),
        ("model_mode", _MODEL_MODES),
        ("prompt", _PROMPTS),
    ):
        if options.get(name) is not None and options[name] not in choices:
            raise invalid(f"{where}.{name} must be one of: {', '.join(choices)}", where)
    temperature = options.get("temperature")
    if temperature is not None and not (is_number(temperature) and 0 <= temperature <= 1):
        raise invalid(f"{where}.temperature must be a number from 0 to 1", where)
    for name in ("occlusion_detection_enabled", "reasoning_enabled"):
        if not isinstance(options.get(name, False), (bool, type(None))):
            raise invalid(f"{where}.{name} must be a boolean", where)
    speaker = options.get("active_speaker_detection")
    if speaker is not None:
        _check_speaker(speaker, f"{where}.active_speaker_detection")


def _check_names(given: dict[str, Any], known: Collection[str], field: str) -> None:
    if unknown := set(given) - set(known):
        message = f"Invalid generation options: property {sorted(unknown)[0]} does not exist"
        raise invalid(message, field, status=422)


def _check_speaker(speaker: Any, where: str) -> None:
    if not isinstance(speaker, dict):
        raise invalid(f"{where} must be an object", "options")
    _check_names(speaker, _SPEAKER, "options")
    coordinates, frame = speaker.get("coordinates"), speaker.get("frame_number")
    boxes = speaker.get("bounding_boxes")
    point = coordinates is not None or frame is not None
    linked = speaker.get("bounding_boxes_url") is not None
    if bool(speaker.get("auto_detect")) + point + (boxes is not None) + linked > 1:
        raise _bad_speaker(f"{where} takes one way of selecting a speaker")
    if point and not (_whole(coordinates, 2) and isinstance(frame, int) and frame >= 0):
        raise _bad_speaker(f"{where} needs frame_number and coordinates [x, y] in whole pixels")
    if boxes is not None and not (
        isinstance(boxes, list) and all(box is None or _whole(box, 4) for box in boxes)
    ):
        raise _bad_speaker(f"{where}.bounding_boxes must hold [x1, y1, x2, y2] or null")


def _whole(value: Any, length: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == length
        and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    )


def _bad_speaker(message: str) -> ApiError:
    return invalid(message, "options", "generation_input_face_selection_invalid")
